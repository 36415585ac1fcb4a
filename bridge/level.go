package bridge

// level is an RFC 5424 severity by rank, higher is worse; 0 is none at all.
type level uint8

// levelOf reads a level's name; 0 means that it is not one.
func levelOf(name []byte) level {
	switch string(name) {
	case "debug":
		return 1
	case "info":
		return 2
	case "notice":
		return 3
	case "warning":
		return 4
	case "error":
		return 5
	case "critical":
		return 6
	case "alert":
		return 7
	case "emergency":
		return 8
	}
	return 0
}

func (l level) String() string {
	return [...]string{"", "debug", "info", "notice", "warning", "error", "critical", "alert", "emergency"}[l]
}
