{{/* A Deployment of gateways: stable and canary are the same but for what values.canary says. root, track */}}

{{- define "odin.gateway" -}}
{{- $root := .root -}}
{{- $v := $root.Values -}}
{{- $isCanary := eq .track "canary" -}}
{{- $config := include "odin.config" . | fromYaml -}}
{{- include "odin.checks.config" (dict "root" $root "track" .track "config" $config) -}}
{{- $name := include "odin.fullname" $root -}}
{{- if $isCanary }}{{ $name = printf "%s-canary" $name }}{{ end -}}
{{- $image := ternary $v.canary.image dict $isCanary -}}
{{- $version := $image.tag | default $v.image.tag -}}
{{- $labels := dict "root" $root "component" "gateway" "track" .track "version" $version -}}
apiVersion: apps/v1
kind: Deployment
metadata:
  name: {{ $name }}
  namespace: {{ $root.Release.Namespace }}
  labels:
    {{- include "odin.labels" $labels | nindent 4 }}
spec:
  {{- if $isCanary }}
  replicas: {{ $v.canary.replicas }}
  {{- else if not (or $v.autoscaling.enabled $v.keda.enabled) }}
  # Left out where something scales: each upgrade would set it back, and send away everybody who is on the other pods.
  replicas: {{ $v.replicas }}
  {{- end }}
  revisionHistoryLimit: {{ $v.revisionHistoryLimit }}
  # A step of the rollout counts as done when the gateway was ready for so long; by default as long as a drain takes, so that
  # one gateway at a time sends its clients away.
  minReadySeconds: {{ include "odin.minReadySeconds" (dict "root" $root "config" $config) }}
  progressDeadlineSeconds: {{ $v.progressDeadlineSeconds | int }}
  strategy:
    type: RollingUpdate
    rollingUpdate:
      maxSurge: {{ $v.strategy.maxSurge }}
      # None: a new gateway is ready before an old one leaves, so its clients have somewhere to go.
      maxUnavailable: {{ $v.strategy.maxUnavailable }}
  selector:
    matchLabels:
      {{- include "odin.selector" $labels | nindent 6 }}
  template:
    metadata:
      labels:
        {{- include "odin.podLabels" $labels | nindent 8 }}
        {{- with $v.podLabels }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      annotations:
        {{- if $v.rolloutOnConfigChange }}
        # Another configuration is another pod. Without this it has to be reloaded: POST /v1/reload, or SIGHUP.
        checksum/config: {{ include "odin.configFile" $config | sha256sum }}
        {{- end }}
        {{- with $v.secret.env }}
        checksum/secret: {{ toYaml . | sha256sum }}
        {{- end }}
        {{- with mergeOverwrite (deepCopy $v.podAnnotations) (ternary $v.canary.podAnnotations dict $isCanary) }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    spec:
      {{- include "odin.podCommon" $root | nindent 6 }}
      # preStop, drain.pause, drain.window, and what remains; computed, because whoever is left at its end is cut off.
      terminationGracePeriodSeconds: {{ include "odin.graceSeconds" (dict "root" $root "config" $config) }}
      {{- with $v.priorityClassName }}
      priorityClassName: {{ . }}
      {{- end }}
      {{- with $v.topologySpread }}
      topologySpreadConstraints:
        {{- range . }}
        - maxSkew: {{ .maxSkew }}
          topologyKey: {{ .topologyKey }}
          whenUnsatisfiable: {{ .whenUnsatisfiable }}
          labelSelector:
            matchLabels:
              {{- include "odin.selector" $labels | nindent 14 }}
          # Counts only pods of the same version: during a rollout the old ones would distort where the new ones go.
          matchLabelKeys: [pod-template-hash]
        {{- end }}
      {{- end }}
      containers:
        - name: gateway
          image: {{ include "odin.image" (dict "root" $root "image" $image) | quote }}
          imagePullPolicy: {{ $v.image.pullPolicy }}
          command: [ws-gateway]
          args: [serve, --config, /etc/odin/odin.toml]
          ports:
            - name: public
              containerPort: {{ include "odin.port" (dict "name" "config.listen" "value" (dig "listen" "0.0.0.0:8080" $config)) }}
            - name: admin
              containerPort: {{ include "odin.port" (dict "name" "config.admin_listen" "value" (dig "admin_listen" "" $config)) }}
          {{- with include "odin.env" (dict "root" $root "config" $config "extra" (ternary (concat $v.extraEnv $v.canary.extraEnv) $v.extraEnv $isCanary)) }}
          env:
            {{- . | nindent 12 }}
          {{- end }}
          {{- with include "odin.envFrom" $root }}
          envFrom:
            {{- . | nindent 12 }}
          {{- end }}
          {{- if $v.preStopSleepSeconds }}
          lifecycle:
            preStop:
              # The kubelet's own: the image has no shell and no sleep.
              sleep:
                seconds: {{ $v.preStopSleepSeconds }}
          {{- end }}
          # Lives as long as it answers at all. Not /readyz: without NATS all gateways would be restarted, all clients would lose
          # their connection, and the next gateways would find the same NATS.
          startupProbe:
            httpGet: { path: /livez, port: admin }
            {{- toYaml $v.probes.startup | nindent 12 }}
          livenessProbe:
            httpGet: { path: /livez, port: admin }
            {{- toYaml $v.probes.liveness | nindent 12 }}
          # Fails fast: a gateway that drains says 503 at once, and has drain.pause for load balancers to see it.
          readinessProbe:
            httpGet: { path: /readyz, port: admin }
            {{- toYaml $v.probes.readiness | nindent 12 }}
          resources:
            {{- include "odin.resources" . | nindent 12 }}
          securityContext:
            {{- toYaml $v.securityContext | nindent 12 }}
          volumeMounts:
            # The folder, not the file (subPath): only a folder follows when the ConfigMap changes, for reloads.
            - name: config
              mountPath: /etc/odin
              readOnly: true
            {{- with $v.extraVolumeMounts }}
            {{- toYaml . | nindent 12 }}
            {{- end }}
      volumes:
        {{- include "odin.configVolume" (dict "root" $root "name" $name) | nindent 8 }}
        {{- with $v.extraVolumes }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
{{- end }}
