//! What is answered to what.

use super::wire::{Reply, Request};
use super::world::{Lease, Made, TokenSpec, World};
use super::{ROOT, Script, State};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// An answer, or the status of an error and its text.
type Answered = Result<Value, (u16, String)>;

pub(super) fn errors(status: u16, error: &str) -> Reply {
    let errors: Vec<&str> = if error.is_empty() { Vec::new() } else { vec![error] };
    (status, String::new(), json!({ "errors": errors }).to_string())
}

pub(super) async fn answer(script: &Script, request: &Request) -> Reply {
    Script::settle(&script.shared).await;
    let (answered, legacy, issued) = script.with(|state| {
        let before = made(state);
        let answered = decide(state, request);
        let hook = state.on_issue.clone();
        let issued = made(state).into_iter().filter(|made| !before.contains(made));
        (answered, state.legacy, hook.zip(Some(issued.collect::<Vec<_>>())))
    });
    if let Some((hook, issued)) = issued {
        for made in issued {
            hook(made).await;
        }
    }
    Script::settle(&script.shared).await;
    match answered {
        Ok(Value::Null) => (204, String::new(), String::new()),
        Ok(value) => (200, String::new(), value.to_string()),
        Err((404, body)) if body.starts_with('{') => (404, String::new(), body),
        Err((status, error)) if legacy => {
            (status, String::new(), json!({ "error": error }).to_string())
        }
        Err((status, error)) => errors(status, &error),
    }
}

fn made(state: &State) -> Vec<Made> {
    let leases = state.worlds.values().flat_map(|world| world.leases.values());
    leases.map(|lease| lease.made.clone()).collect()
}

fn no(status: u16, error: &str) -> Answered {
    Err((status, error.to_owned()))
}

fn decide(state: &mut State, request: &Request) -> Answered {
    let now = state.now();
    let (legacy, tells_mounts) = (state.legacy, state.tells_mounts);
    let namespace = request.headers.get("x-vault-namespace").map_or("", String::as_str);
    let Some(world) = state.worlds.get_mut(namespace.trim_matches('/')) else {
        return no(404, "no handler for route");
    };
    let path = request.path.as_str();
    if let Some(mount) = path.strip_prefix("auth/").and_then(|path| path.strip_suffix("/login")) {
        return login(world, mount, request, now, legacy);
    }
    let token = request.token().to_owned();
    if !world.tokens.contains_key(&token) {
        return no(403, if legacy { "Permission denied." } else { "permission denied" });
    }
    if token != ROOT && world.denied.iter().any(|denied| path.starts_with(denied.as_str())) {
        return no(403, "1 error occurred:\n\t* permission denied\n\n");
    }
    let legacy_no = || no(500, "Logical backend path not supported.");
    match path {
        "auth/token/lookup-self" => Ok(lookup(world, &token, now)),
        "auth/token/renew-self"
        | "auth/token/revoke-self"
        | "sys/leases/renew"
        | "sys/leases/revoke"
            if legacy =>
        {
            legacy_no()
        }
        "auth/token/renew-self" => renew_token(world, &token, request, now),
        "auth/token/revoke-self" => {
            world.end_token(&token);
            Ok(Value::Null)
        }
        "sys/leases/renew" => renew_lease(world, text(request, "lease_id"), request, now),
        "sys/leases/revoke" => Ok(revoke_lease(world, text(request, "lease_id"))),
        _ => {
            if let Some(path) = path.strip_prefix("sys/internal/ui/mounts/") {
                return if legacy {
                    legacy_no()
                } else if tells_mounts {
                    mount(world, path)
                } else {
                    no(403, "preflight capability check returned 403")
                };
            }
            if let Some(id) = path.strip_prefix("sys/renew/").filter(|_| legacy) {
                return renew_lease(world, id, request, now);
            }
            if let Some(id) = path.strip_prefix("sys/revoke/").filter(|_| legacy) {
                return Ok(revoke_lease(world, id));
            }
            read(world, request, &token, now)
        }
    }
}

fn text<'a>(request: &'a Request, name: &str) -> &'a str {
    request.body[name].as_str().unwrap_or_default()
}

/// Whole seconds where that is what they are.
fn seconds(of: Duration) -> Value {
    if of.subsec_nanos() == 0 { of.as_secs().into() } else { of.as_secs_f64().into() }
}

fn auth(token: &str, ttl: Duration, spec: TokenSpec, legacy: bool) -> Value {
    let mut auth = json!({
        "client_token": token, "policies": ["default"], "metadata": {},
        "lease_duration": seconds(ttl), "renewable": spec.renewable,
    });
    if !legacy {
        auth["accessor"] = "accessor".into();
        auth["token_type"] = "service".into();
    }
    json!({ "request_id": "1", "lease_id": "", "data": null, "auth": auth, "warnings": null })
}

fn login(
    world: &mut World,
    mount: &str,
    request: &Request,
    now: Instant,
    legacy: bool,
) -> Answered {
    let (role, secret) = match request.body.get("role_id") {
        Some(_) => (text(request, "role_id"), text(request, "secret_id")),
        None => (text(request, "role"), text(request, "jwt")),
    };
    let found = world.logins.get(&(mount.to_owned(), role.to_owned()));
    let Some((_, spec)) = found.filter(|(known, _)| known == secret) else {
        return no(400, "invalid role or secret ID");
    };
    let spec = *spec;
    world.made += 1;
    let token = format!("hvs.login-{}-{}", mount.replace('/', "-"), world.made);
    world.add_token(&token, spec, now);
    Ok(auth(&token, spec.ttl.unwrap_or_default(), spec, legacy))
}

fn lookup(world: &World, token: &str, now: Instant) -> Value {
    let known = &world.tokens[token];
    let ttl = known.ends.map_or(Duration::ZERO, |ends| ends - now);
    // Rounded up: zero would be for ever.
    let ttl = if known.ends.is_some() { ttl.max(Duration::from_millis(1)) } else { ttl };
    let whole = seconds(known.spec.ttl.unwrap_or_default());
    let renewable = known.spec.renewable;
    json!({
        "data": { "id": token, "ttl": seconds(ttl), "creation_ttl": whole, "renewable": renewable }
    })
}

fn increment(request: &Request) -> Option<Duration> {
    let asked = request.body.get("increment")?.as_f64()?;
    Some(Duration::from_secs_f64(asked)).filter(|asked| !asked.is_zero())
}

fn renew_token(world: &mut World, name: &str, request: &Request, now: Instant) -> Answered {
    let token = world.tokens.get_mut(name).unwrap();
    let Some(ttl) = token.spec.ttl.filter(|_| token.spec.renewable) else {
        return no(400, "token is not renewable");
    };
    let ttl = increment(request).map_or(ttl, |asked| asked.min(ttl));
    let ends = token.last.map_or(now + ttl, |last| (now + ttl).min(last));
    token.ends = Some(ends);
    Ok(auth(name, ends - now, token.spec, false))
}

fn renew_lease(world: &mut World, id: &str, request: &Request, now: Instant) -> Answered {
    let Some(number) = world.find_lease(id) else { return no(400, "lease not found") };
    let lease = world.leases.get_mut(&number).unwrap();
    let ttl = increment(request).map_or(lease.ttl, |asked| asked.min(lease.ttl));
    lease.ends = (now + ttl).min(lease.last);
    let left = seconds(lease.ends - now);
    Ok(json!({ "lease_id": id, "lease_duration": left, "renewable": true, "data": null }))
}

fn revoke_lease(world: &mut World, id: &str) -> Value {
    // Vault does not mind one that is gone.
    if let Some(number) = world.find_lease(id) {
        world.end_lease(number, "revoked");
    }
    Value::Null
}

fn mount(world: &World, path: &str) -> Answered {
    let below = |mount: &str| path == mount || path.starts_with(&format!("{mount}/"));
    let Some((mount, (engine, version))) = world.mounts.iter().find(|(mount, _)| below(mount))
    else {
        return no(403, "preflight capability check returned 403");
    };
    let options =
        if *version == 0 { Value::Null } else { json!({ "version": version.to_string() }) };
    Ok(json!({ "data": { "path": format!("{mount}/"), "type": engine, "options": options } }))
}

fn read(world: &mut World, request: &Request, token: &str, now: Instant) -> Answered {
    let path = request.path.as_str();
    if request.method != "GET" {
        return no(405, "unsupported operation");
    }
    if let Some(role) = path.strip_prefix("database/creds/") {
        return creds(world, role, token, now);
    }
    if let Some(name) = path.strip_prefix("database/static-creds/") {
        return static_creds(world, name, now);
    }
    if let Some(data) = world.plain.get(path) {
        let ttl = data.get("ttl").and_then(|ttl| ttl.as_str()?.parse::<u64>().ok());
        let ttl = ttl.unwrap_or(2_764_800);
        return Ok(json!({
            "lease_id": "", "lease_duration": ttl, "renewable": false, "data": data,
        }));
    }
    let two = world.mounts.iter().filter(|(_, (engine, version))| engine == "kv" && *version == 2);
    for (mount, _) in two {
        let Some(rest) = path.strip_prefix(&format!("{mount}/")) else { continue };
        let Some(name) = rest.strip_prefix("data/") else {
            let warning = "Invalid path for a versioned K/V secrets engine. See the API docs for \
                           the appropriate API endpoints to use.";
            return Err((404, json!({ "errors": [], "warnings": [warning] }).to_string()));
        };
        return versioned(world, &format!("{mount}/{name}"), request);
    }
    no(404, "")
}

fn versioned(world: &World, path: &str, request: &Request) -> Answered {
    let Some(versions) = world.versioned.get(path) else { return no(404, "") };
    let wanted = request.query.strip_prefix("version=").and_then(|number| number.parse().ok());
    let number = wanted.unwrap_or(versions.len());
    let Some(version) = number.checked_sub(1).and_then(|at| versions.get(at)) else {
        return no(404, "");
    };
    let deleted = version.data.is_none() && !version.destroyed;
    let body = json!({
        "request_id": "1", "lease_id": "", "lease_duration": 0, "renewable": false,
        "data": {
            "data": version.data,
            "metadata": {
                "created_time": "2026-01-01T00:00:00Z", "custom_metadata": null,
                "deletion_time": if deleted { "2026-01-02T00:00:00Z" } else { "" },
                "destroyed": version.destroyed, "version": number,
            },
        },
    });
    if version.data.is_none() { Err((404, body.to_string())) } else { Ok(body) }
}

fn creds(world: &mut World, role: &str, token: &str, now: Instant) -> Answered {
    let Some((ttl, max_ttl)) = world.roles.get(role).copied() else {
        return no(400, &format!("unknown role: {role}"));
    };
    world.made += 1;
    let number = world.made;
    let made = Made {
        lease_id: format!("database/creds/{role}/lease-{number}"),
        role: role.to_owned(),
        username: format!("v-{role}-{number}"),
        password: format!("password-of-{role}-{number}"),
    };
    let last = now + max_ttl;
    let ends = (now + ttl).min(last);
    let answer = json!({
        "lease_id": made.lease_id, "lease_duration": seconds(ends - now), "renewable": true,
        "data": { "username": made.username, "password": made.password },
    });
    let token = token.to_owned();
    world.leases.insert(number, Lease { made, ends, last, ttl, token });
    Ok(answer)
}

fn static_creds(world: &World, name: &str, now: Instant) -> Answered {
    let Some(role) = world.statics.get(name) else { return no(400, "unknown role") };
    let (period, turn) = (role.period, role.turn);
    Ok(json!({
        "lease_id": "", "lease_duration": 0, "renewable": false,
        "data": {
            "username": name, "password": format!("password-of-{name}-{turn}"),
            "last_vault_rotation": format!("turn {turn}"),
            "rotation_period": seconds(period), "ttl": seconds(role.since + period - now),
        },
    }))
}
