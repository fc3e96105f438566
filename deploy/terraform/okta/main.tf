# What pigment-sync needs in one Okta org: a service app that reads one application, its groups and people, and nothing else.
# Guide: docs/terraform.md. Needs: an application for Pigment, and the public key that `pigment-sync okta-key` prints.

terraform {
  required_version = ">= 1.3"
  required_providers {
    okta = {
      source = "okta/okta"
      # dpop_bound_access_tokens came after 6.15.0 (okta/terraform-provider-okta, pull request 2950).
      version = "> 6.15.0"
    }
  }
}

data "okta_app" "pigment" {
  for_each = toset(var.app_ids)

  id = each.value
}

locals {
  public_key = jsondecode(var.public_jwk)

  apps_url   = "${var.org_url}/api/v1/apps"
  groups_url = "${var.org_url}/api/v1/groups"

  # A leaver is in none of the groups any more: only a role over all users can look them up.
  users = var.all_users ? ["${var.org_url}/api/v1/users"] : [for id in var.group_ids : "${local.groups_url}/${id}/users"]
}

resource "okta_app_oauth" "pigment_sync" {
  label                      = var.label
  type                       = "service"
  grant_types                = ["client_credentials"]
  response_types             = ["token"]
  token_endpoint_auth_method = "private_key_jwt"
  dpop_bound_access_tokens   = var.require_dpop
  omit_secret                = true

  jwks {
    kid = local.public_key.kid
    kty = local.public_key.kty
    e   = lookup(local.public_key, "e", null)
    n   = lookup(local.public_key, "n", null)
    x   = lookup(local.public_key, "x", null)
    y   = lookup(local.public_key, "y", null)
  }
}

resource "okta_app_oauth_api_scope" "pigment_sync" {
  app_id = okta_app_oauth.pigment_sync.id
  issuer = var.org_url
  scopes = ["okta.apps.read", "okta.groups.read", "okta.users.read"]
}

resource "okta_admin_role_custom" "reader" {
  label       = "${var.label} reader"
  description = "Views applications, groups and users; changes nothing."
  permissions = ["okta.apps.read", "okta.groups.read", "okta.users.read"]
}

resource "okta_resource_set" "pigment" {
  label       = var.label
  description = "What ${var.label} reads: Pigment's applications, their groups, and people."
  resources = concat(
    [for app in data.okta_app.pigment : "${local.apps_url}/${app.id}"],
    [for id in var.group_ids : "${local.groups_url}/${id}"],
    local.users,
  )
}

resource "okta_app_oauth_role_assignment" "reader" {
  client_id    = okta_app_oauth.pigment_sync.client_id
  type         = "CUSTOM"
  role         = okta_admin_role_custom.reader.id
  resource_set = okta_resource_set.pigment.id
}
