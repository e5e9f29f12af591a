//! A manifest for Kubernetes: a Deployment with its disruption budget, a Service and a `ConfigMap`
//! that fit the binary.
//!
//! Secrets come as files of a mounted Secret, named by `_FILE` variables. Unlike `secretKeyRef` they
//! follow when the Secret changes, and they are in no environment that a child process, a crash
//! report or `kubectl describe` could show.
use super::{Contract, SecretFile, Variable};
use std::fmt::Write as _;

/// What the grace period has beyond the longest end: the kubelet's own delays.
const MARGIN_SECONDS: f64 = 3.0;

/// The manifest. What only its user knows is marked with `CHOOSE`.
pub(super) fn render(contract: &Contract) -> String {
    let mut text = format!(
        "# {} {}: made by `{} contract --format k8s`.\n\
         # Lines marked CHOOSE hold what only you know.\n",
        contract.name, contract.version, contract.name
    );
    text += &config_map(contract);
    text += "---\n";
    text += &service(contract);
    text += "---\n";
    text += &disruption_budget(contract);
    text += "---\n";
    text += &deployment(contract);
    text
}

/// Names of objects, which allow less than names of packages.
fn object(contract: &Contract) -> String {
    contract.name.replace('_', "-").to_ascii_lowercase()
}

fn labels(contract: &Contract, indent: usize) -> String {
    let space = " ".repeat(indent);
    let mut text = format!("{space}app.kubernetes.io/name: {}\n", object(contract));
    let _ = writeln!(text, "{space}app.kubernetes.io/version: {:?}", contract.version);
    text
}

/// The port with this name.
fn port(contract: &Contract, name: &str) -> u16 {
    contract.ports.iter().find(|port| port.name == name).map_or(0, |port| port.number)
}

fn config_map(contract: &Contract) -> String {
    let object = object(contract);
    format!(
        "apiVersion: v1
kind: ConfigMap
metadata:
  name: {object}-config
  labels:
{}data:
  # Settings that are no secrets, as in config/default.toml.
  default.toml: |
    # `{} config --docs` lists the keys.
",
        labels(contract, 4),
        contract.name
    )
}

fn service(contract: &Contract) -> String {
    let object = object(contract);
    format!(
        "apiVersion: v1
kind: Service
metadata:
  name: {object}
  labels:
{}spec:
  selector:
    app.kubernetes.io/name: {object}
  ports:
    - name: http
      port: 80
      targetPort: http
",
        labels(contract, 4)
    )
}

fn disruption_budget(contract: &Contract) -> String {
    let object = object(contract);
    format!(
        "apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {object}
  labels:
{}spec:
  maxUnavailable: 1 # when nodes are drained, one pod at a time
  selector:
    matchLabels:
      app.kubernetes.io/name: {object}
",
        labels(contract, 4)
    )
}

fn deployment(contract: &Contract) -> String {
    let object = object(contract);
    let grace = (contract.shutdown.budget_seconds + MARGIN_SECONDS).ceil();
    let budget = contract.shutdown.budget_seconds;
    let mut text = format!(
        "apiVersion: apps/v1
kind: Deployment
metadata:
  name: {object}
  labels:
{labels}{about}spec:
  replicas: 2 # CHOOSE how many
  strategy:
    rollingUpdate:
      maxUnavailable: 0 # a new pod is ready before an old one ends
      maxSurge: 1
  selector:
    matchLabels:
      app.kubernetes.io/name: {object}
  template:
    metadata:
      labels:
{pod_labels}      annotations:
        prometheus.io/scrape: \"true\"
        prometheus.io/port: \"{admin}\"
        prometheus.io/path: {metrics}
    spec:
      terminationGracePeriodSeconds: {grace} # the end may take {budget} s
      enableServiceLinks: false # else Kubernetes sets variables that look like settings
      securityContext:
        runAsNonRoot: true
        runAsUser: 65532
        seccompProfile:
          type: RuntimeDefault
",
        labels = labels(contract, 4),
        about = annotations(contract),
        pod_labels = labels(contract, 8),
        admin = port(contract, "admin"),
        metrics = contract.metrics.path,
    );
    text += &container(contract);
    text += &volumes(contract);
    text
}

/// Who answers for it.
fn annotations(contract: &Contract) -> String {
    let all = [("owner", &contract.owner), ("runbook", &contract.runbook)];
    let mut text = String::new();
    for (name, value) in all {
        if let Some(value) = value {
            let head = if text.is_empty() { "  annotations:\n" } else { "" };
            let _ = writeln!(text, "{head}    octostack/{name}: {value:?}");
        }
    }
    text
}

fn container(contract: &Contract) -> String {
    let (name, version, object) = (&contract.name, &contract.version, object(contract));
    let (public, admin) = (port(contract, "http"), port(contract, "admin"));
    format!(
        "      containers:
        - name: {object}
          image: registry.example/{object}:{version} # CHOOSE where it is
          ports:
            - name: http
              containerPort: {public}
            - name: admin
              containerPort: {admin}
          env:
            - name: APP_ENV
              value: production
            - name: HOST
              value: 0.0.0.0
            - name: PORT
              value: \"{public}\"
            - name: ADMIN_ADDR # probes and metrics need no token here, all else does
              value: 0.0.0.0:{admin}
            - name: CONFIG_DIR
              value: /etc/{object}
{env}          startupProbe: # as long as it may take to start
            httpGet:
              path: /startupz
              port: admin
            periodSeconds: 1
            failureThreshold: 60
          readinessProbe:
            httpGet:
              path: /readyz
              port: http
            periodSeconds: 5
          livenessProbe:
            httpGet:
              path: /livez
              port: http
            periodSeconds: 10
            failureThreshold: 3
          # CHOOSE resources: {{requests: {{cpu: 100m, memory: 64Mi}}, limits: {{memory: 128Mi}}}}
          securityContext:
            allowPrivilegeEscalation: false
            readOnlyRootFilesystem: true
            capabilities:
              drop: [ALL]
          volumeMounts:
            - name: config # the whole directory: what is mounted by subPath never changes
              mountPath: /etc/{object}
              readOnly: true
",
        env = environment(contract, name),
    )
}

/// What has to be given: settings by a `ConfigMap` that does not exist yet, so that a pod waits for it
/// instead of running with a wrong value; secrets as files.
fn environment(contract: &Contract, name: &str) -> String {
    let object = object(contract);
    let mut text = String::new();
    let plain = |variable: &&Variable| variable.required && !variable.secret;
    for variable in contract.variables.iter().filter(plain) {
        let Variable { name, doc, .. } = variable;
        let about = super::env::wrap(doc).join(" ");
        let _ = write!(
            text,
            "            - name: {name} # CHOOSE: kubectl create configmap {object}-required \
             --from-literal={name}=…; {about}
              valueFrom:
                configMapKeyRef:
                  name: {object}-required
                  key: {name}
"
        );
    }
    for secret in &contract.secrets {
        let SecretFile { file_variable, required, .. } = secret;
        let mark = if *required { "" } else { "# " };
        let file = secret.file_name();
        let _ = write!(
            text,
            "            {mark}- name: {file_variable}
            {mark}  value: /run/secrets/{name}/{file}
"
        );
    }
    text
}

fn volumes(contract: &Contract) -> String {
    let (locks, empty) = locks(contract);
    let (name, object) = (&contract.name, object(contract));
    let required = contract.secrets.iter().any(|secret| secret.required);
    let mark = if required { "" } else { "# " };
    let keys: Vec<_> = contract.secrets.iter().map(SecretFile::file_name).collect();
    format!(
        "{locks}            {mark}- name: secrets # CHOOSE: kubectl create secret generic {object} \
         --from-file=…
            {mark}  mountPath: /run/secrets/{name}
            {mark}  readOnly: true
      volumes:
        - name: config
          configMap:
            name: {object}-config
{empty}        # A Secret with the keys {keys}.
        {mark}- name: secrets
        {mark}  secret:
        {mark}    secretName: {object}
",
        keys = keys.join(", ")
    )
}

/// Where admin tasks lock files, since the rest cannot be written: the mount and its volume.
fn locks(contract: &Contract) -> (String, &'static str) {
    if !contract.locks_files() {
        return (String::new(), "");
    }
    let mount = format!(
        "            - name: locks # of admin tasks that `kubectl exec` runs
              mountPath: {dir:?}
",
        dir = contract.lock_dir
    );
    (mount, "        - name: locks\n          emptyDir: {}\n")
}
