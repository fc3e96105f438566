output "connector" {
  description = "The connector for the configuration of pigment-sync, but for the private key's place."
  value = {
    type      = "okta"
    org_url   = var.org_url
    client_id = okta_app_oauth.pigment_sync.client_id
    kid       = local.public_key.kid
    dpop      = var.require_dpop
  }
}
