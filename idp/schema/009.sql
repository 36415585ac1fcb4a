-- With what a provider is asked whether it still vouches for somebody: its refresh token, sealed; '' where there is none.
ALTER TABLE users ADD COLUMN voucher TEXT NOT NULL DEFAULT '';
