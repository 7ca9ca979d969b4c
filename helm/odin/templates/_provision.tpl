{{/* What the Job does. In a template of its own, because the Job is named for it. */}}
{{- define "odin.provisionSpec" -}}
{{- $config := include "odin.config" (dict "root" . "track" "stable") | fromYaml -}}
# With pauses of 10 s, 20 s, 40 s and so on, up to 6 minutes.
backoffLimit: {{ .Values.provision.retries }}
activeDeadlineSeconds: {{ .Values.provision.deadlineSeconds }}
podFailurePolicy:
  rules:
    # A bad configuration does not become better.
    - action: FailJob
      onExitCodes:
        containerName: provision
        operator: In
        values: [2]
    # A node that is emptied is no failure of the Job's.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
template:
  metadata:
    labels:
      {{- include "odin.podLabels" (dict "root" . "component" "provision") | nindent 6 }}
  spec:
    {{- include "odin.podCommon" . | nindent 4 }}
    # podFailurePolicy wants it; the pods that failed stay, with their logs, as long as the Job.
    restartPolicy: Never
    containers:
      - name: provision
        image: {{ include "odin.image" (dict "root" .) | quote }}
        imagePullPolicy: {{ .Values.image.pullPolicy }}
        command: [ws-gateway]
        args:
          - provision
          - --config
          - /etc/odin/odin.toml
          {{- if .Values.provision.update }}
          - --update
          {{- end }}
        env:
          {{- include "odin.env" (dict "root" . "config" $config "extra" .Values.extraEnv) | nindent 10 }}
          {{- with .Values.provision.credsSecret.name }}
          # The operator's, who may create streams; gateways may not.
          - name: ODIN_NATS_CREDS_FILE
            value: /etc/odin-operator/{{ $.Values.provision.credsSecret.key }}
          {{- end }}
        {{- $envFrom := include "odin.envFrom" . }}
        {{- if or $envFrom .Values.provision.existingSecret }}
        envFrom:
          {{- with $envFrom }}
          {{- . | nindent 10 }}
          {{- end }}
          {{- with .Values.provision.existingSecret }}
          # Last, so that its user of NATS takes the place of the gateways'.
          - secretRef:
              name: {{ . }}
          {{- end }}
        {{- end }}
        resources:
          {{- toYaml .Values.provision.resources | nindent 10 }}
        securityContext:
          {{- toYaml .Values.securityContext | nindent 10 }}
        volumeMounts:
          - name: config
            mountPath: /etc/odin
            readOnly: true
          {{- if .Values.provision.credsSecret.name }}
          - name: operator
            mountPath: /etc/odin-operator
            readOnly: true
          {{- end }}
          {{- with .Values.extraVolumeMounts }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
    volumes:
      {{- include "odin.configVolume" (dict "root" . "name" (include "odin.fullname" .)) | nindent 6 }}
      {{- with .Values.provision.credsSecret.name }}
      - name: operator
        secret:
          secretName: {{ . }}
          defaultMode: 0440
      {{- end }}
      {{- with .Values.extraVolumes }}
      {{- toYaml . | nindent 6 }}
      {{- end }}
{{- end }}
