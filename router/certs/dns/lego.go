package dns

import (
	"maps"
	"net/http"
	"time"

	"github.com/go-acme/lego/v5/providers/dns/acmedns"
	"github.com/go-acme/lego/v5/providers/dns/bunny"
	"github.com/go-acme/lego/v5/providers/dns/cloudflare"
	"github.com/go-acme/lego/v5/providers/dns/digitalocean"
	"github.com/go-acme/lego/v5/providers/dns/duckdns"
	"github.com/go-acme/lego/v5/providers/dns/exec"
	"github.com/go-acme/lego/v5/providers/dns/gandiv5"
	"github.com/go-acme/lego/v5/providers/dns/godaddy"
	"github.com/go-acme/lego/v5/providers/dns/hetzner"
	"github.com/go-acme/lego/v5/providers/dns/httpreq"
	"github.com/go-acme/lego/v5/providers/dns/infomaniak"
	"github.com/go-acme/lego/v5/providers/dns/inwx"
	"github.com/go-acme/lego/v5/providers/dns/ionos"
	"github.com/go-acme/lego/v5/providers/dns/namecheap"
	"github.com/go-acme/lego/v5/providers/dns/netcup"
	"github.com/go-acme/lego/v5/providers/dns/ovh"
	"github.com/go-acme/lego/v5/providers/dns/pdns"
	"github.com/go-acme/lego/v5/providers/dns/porkbun"
	"github.com/go-acme/lego/v5/providers/dns/route53"
	"github.com/go-acme/lego/v5/providers/dns/scaleway"
	"github.com/go-acme/lego/v5/providers/dns/technitium"
	"github.com/go-acme/lego/v5/providers/dns/vultr"
)

// providers are all that are known, by name. Each is a package of its own: lego's
// table of all would bring cloud SDKs of four times this program's size. Whoever is
// not here is reached by exec, httpreq, acmedns, or a CNAME to a zone of one that is.
func providers() map[string]maker {
	all := hosts()
	maps.Copy(all, map[string]maker{
		"rfc2136": {keys: []string{"nameserver", "tsig_algorithm", "tsig_key", "tsig_secret", "ttl", "zone"}, build: newRFC2136},
		"acmedns": lego(acmedns.NewDefaultConfig, acmedns.NewDNSProviderConfig, func(c *acmedns.Config) fields {
			return fields{"api_base": &c.APIBase, "allowlist": &c.AllowList, "storage_path": &c.StoragePath, "storage_base_url": &c.StorageBaseURL}
		}),
		"exec": lego(exec.NewDefaultConfig, exec.NewDNSProviderConfig, func(c *exec.Config) fields {
			return fields{"path": &c.Program, "mode": &c.Mode}
		}),
		"httpreq": lego(httpreqConfig, httpreq.NewDNSProviderConfig, func(c *httpreq.Config) fields {
			return fields{"endpoint": &c.Endpoint, "mode": &c.Mode, "username": &c.Username, "password": &c.Password}
		}),
		"pdns": lego(pdnsConfig, pdns.NewDNSProviderConfig, func(c *pdns.Config) fields {
			return fields{"api_key": &c.APIKey, "api_url": &c.Host, "server_name": &c.ServerName, "ttl": &c.TTL}
		}),
		"technitium": lego(technitium.NewDefaultConfig, technitium.NewDNSProviderConfig, func(c *technitium.Config) fields {
			return fields{"server_base_url": &c.BaseURL, "api_token": &c.APIToken, "ttl": &c.TTL}
		}),
	})
	return all
}

// hosts are the companies that host zones.
func hosts() map[string]maker {
	return map[string]maker{
		"bunny": lego(bunny.NewDefaultConfig, bunny.NewDNSProviderConfig, func(c *bunny.Config) fields {
			return fields{"api_key": &c.APIKey, "ttl": &c.TTL}
		}),
		"cloudflare": lego(cloudflare.NewDefaultConfig, cloudflare.NewDNSProviderConfig, func(c *cloudflare.Config) fields {
			return fields{"dns_api_token": &c.AuthToken, "zone_api_token": &c.ZoneToken, "email": &c.AuthEmail, "api_key": &c.AuthKey, "base_url": &c.BaseURL, "ttl": &c.TTL}
		}),
		"digitalocean": lego(digitalocean.NewDefaultConfig, digitalocean.NewDNSProviderConfig, func(c *digitalocean.Config) fields {
			return fields{"auth_token": &c.AuthToken, "api_url": &c.BaseURL, "ttl": &c.TTL}
		}),
		"duckdns": lego(duckdns.NewDefaultConfig, duckdns.NewDNSProviderConfig, func(c *duckdns.Config) fields {
			return fields{"token": &c.Token}
		}),
		"gandiv5": lego(gandiv5.NewDefaultConfig, gandiv5.NewDNSProviderConfig, func(c *gandiv5.Config) fields {
			return fields{"personal_access_token": &c.PersonalAccessToken, "api_key": &c.APIKey, "ttl": &c.TTL}
		}),
		"godaddy": lego(godaddy.NewDefaultConfig, godaddy.NewDNSProviderConfig, func(c *godaddy.Config) fields {
			return fields{"api_key": &c.APIKey, "api_secret": &c.APISecret, "ttl": &c.TTL}
		}),
		"hetzner": lego(hetzner.NewDefaultConfig, hetzner.NewDNSProviderConfig, func(c *hetzner.Config) fields {
			return fields{"api_token": &c.APIToken, "ttl": &c.TTL}
		}),
		"infomaniak": lego(infomaniak.NewDefaultConfig, infomaniak.NewDNSProviderConfig, func(c *infomaniak.Config) fields {
			return fields{"access_token": &c.AccessToken, "endpoint": &c.APIEndpoint, "ttl": &c.TTL}
		}),
		"inwx": lego(inwx.NewDefaultConfig, inwx.NewDNSProviderConfig, func(c *inwx.Config) fields {
			return fields{"username": &c.Username, "password": &c.Password, "shared_secret": &c.SharedSecret, "sandbox": &c.Sandbox, "ttl": &c.TTL}
		}),
		"ionos": lego(ionos.NewDefaultConfig, ionos.NewDNSProviderConfig, func(c *ionos.Config) fields {
			return fields{"api_key": &c.APIKey, "ttl": &c.TTL}
		}),
		"namecheap": lego(namecheap.NewDefaultConfig, namecheap.NewDNSProviderConfig, func(c *namecheap.Config) fields {
			return fields{"api_user": &c.APIUser, "api_key": &c.APIKey, "client_ip": &c.ClientIP, "ttl": &c.TTL}
		}),
		"netcup": lego(netcup.NewDefaultConfig, netcup.NewDNSProviderConfig, func(c *netcup.Config) fields {
			return fields{"customer_number": &c.Customer, "api_key": &c.Key, "api_password": &c.Password}
		}),
		"ovh": lego(ovh.NewDefaultConfig, newOVH, ovhFields),
		"porkbun": lego(porkbun.NewDefaultConfig, porkbun.NewDNSProviderConfig, func(c *porkbun.Config) fields {
			return fields{"api_key": &c.APIKey, "secret_api_key": &c.SecretAPIKey, "ttl": &c.TTL}
		}),
		"route53": lego(route53.NewDefaultConfig, route53.NewDNSProviderConfig, func(c *route53.Config) fields {
			return fields{
				"access_key_id": &c.AccessKeyID, "secret_access_key": &c.SecretAccessKey, "session_token": &c.SessionToken, "region": &c.Region,
				"hosted_zone_id": &c.HostedZoneID, "assume_role_arn": &c.AssumeRoleArn, "external_id": &c.ExternalID, "private_zone": &c.PrivateZone, "ttl": &c.TTL,
			}
		}),
		"scaleway": lego(scaleway.NewDefaultConfig, scaleway.NewDNSProviderConfig, func(c *scaleway.Config) fields {
			return fields{"secret_key": &c.SecretKey, "access_key": &c.AccessKey, "project_id": &c.ProjectID, "ttl": &c.TTL}
		}),
		"vultr": lego(vultr.NewDefaultConfig, vultr.NewDNSProviderConfig, func(c *vultr.Config) fields {
			return fields{"api_key": &c.APIKey, "ttl": &c.TTL}
		}),
	}
}

func ovhFields(c *ovh.Config) fields {
	if c.OAuth2Config == nil {
		c.OAuth2Config = &ovh.OAuth2Config{}
	}
	return fields{
		"endpoint": &c.APIEndpoint, "application_key": &c.ApplicationKey, "application_secret": &c.ApplicationSecret, "consumer_key": &c.ConsumerKey,
		"client_id": &c.OAuth2Config.ClientID, "client_secret": &c.OAuth2Config.ClientSecret, "access_token": &c.AccessToken, "ttl": &c.TTL,
	}
}

// newOVH leaves out the one of two ways to sign in that is not used.
func newOVH(c *ovh.Config) (*ovh.DNSProvider, error) {
	if *c.OAuth2Config == (ovh.OAuth2Config{}) {
		c.OAuth2Config = nil
	}
	return ovh.NewDNSProviderConfig(c)
}

// pdnsConfig names the API's version, which would be asked for over the network when the settings are checked.
func pdnsConfig() *pdns.Config {
	c := pdns.NewDefaultConfig()
	c.APIVersion = 1
	return c
}

// httpreqConfig gives the requests an end.
func httpreqConfig() *httpreq.Config {
	c := httpreq.NewDefaultConfig()
	c.HTTPClient = &http.Client{Timeout: 30 * time.Second}
	return c
}
