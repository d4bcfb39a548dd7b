-- Written by `skerry lab up`.
daemonize = false
@AS_ROOT@pidfile = @PIDFILE@
data_path = @DATA@
log = { info = "*console" }

interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { @CLIENT@ }
c2s_direct_tls_ports = { @CLIENT_TLS@ }
component_ports = { @COMPONENT@ }
component_interfaces = { "127.0.0.1" }
http_ports = { @HTTP@ }
http_interfaces = { "127.0.0.1" }
https_ports = { @HTTPS@ }
https_interfaces = { "127.0.0.1" }
@S2S@
network_settings = { nagle = false }

admins = { "admin@@DOMAIN@" }
authentication = "internal_hashed"
storage = "internal"
c2s_require_encryption = true
allow_registration = false
ssl = { certificate = @CERTIFICATE@, key = @KEY@ }
certificates = @TLS@

modules_enabled = {
  "roster", "saslauth", "tls", "disco", "carbons", "pep", "private", "blocklist", "vcard4",
  "vcard_legacy", "bookmarks", "version", "uptime", "time", "ping", "lastactivity", "mam", "smacks",
  "csi_simple", "offline", "adhoc", "admin_adhoc", "bosh", "websocket", @S2S_MODULES@
}
cross_domain_websocket = true
cross_domain_bosh = true
consider_bosh_secure = true
consider_websocket_secure = true
http_default_host = "@DOMAIN@"
http_external_url = "http://127.0.0.1:@HTTP@/"
archive_expires_after = "1w"

VirtualHost "@DOMAIN@"

Component "rooms.@DOMAIN@" "muc"
  restrict_room_creation = false

Component "upload.@DOMAIN@" "http_file_share"
  http_file_share_size_limit = 10*1024*1024
  -- By a name: clients on GnuTLS name whom they want also when it is a number, and Prosody hangs up on that.
  http_host = "localhost"
  http_external_url = "https://localhost:@HTTPS@/"
