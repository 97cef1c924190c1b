{{- define "pforte.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "pforte.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pforte.labels" -}}
{{ include "pforte.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "pforte.image" -}}
{{- $repository := required "image.repository: name the image that you built with deploy/Containerfile" .Values.image.repository -}}
{{- if .Values.image.digest }}{{ printf "%s@%s" $repository .Values.image.digest }}{{ else }}{{ printf "%s:%s" $repository (.Values.image.tag | default .Chart.AppVersion) }}{{ end -}}
{{- end }}

{{/* gateway.toml. Helm reads every number as a float; gateway.toml has whole numbers where no fraction is written. */}}
{{- define "pforte.config" -}}
{{- $own := dict
    "server" (dict "listen" "0.0.0.0:8443" "tls" (dict "certificate" "/etc/pforte/tls/tls.crt" "key" "/etc/pforte/tls/tls.key"))
    "audit" (dict "path" "/var/lib/pforte/audit")
    "admin" (dict "listen" "0.0.0.0:9443") -}}
{{- $all := mergeOverwrite (deepCopy .Values.gateway) $own -}}
{{- regexReplaceAll "(?m)^(\\s*[A-Za-z_]+ = -?[0-9]+)\\.0$" (toToml $all) "${1}" -}}
{{- end }}

{{/* What is wrong with the values and no schema says. */}}
{{- define "pforte.check" -}}
{{- $gateway := .Values.gateway -}}
{{- $_ := required "gateway.server.public_url: the FHIR base that clients use" ($gateway.server | default dict).public_url -}}
{{- $_ := required "gateway.backend.url: the FHIR base of the server behind the gateway" ($gateway.backend | default dict).url -}}
{{- $_ := required "tls.secretName: the Secret with certificate and key" .Values.tls.secretName -}}
{{- if not $gateway.authorization_server }}{{ fail "gateway.authorization_server: at least one, with its issuer" }}{{ end -}}
{{- $several := or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}
{{- if and $several (not ($gateway.shared_state | default dict).url) }}{{ fail "gateway.shared_state.url: several replicas share used proofs, links, rates and revocations through Redis" }}{{ end -}}
{{- if and .Values.networkPolicy.enabled (not .Values.networkPolicy.egress) }}{{ fail "networkPolicy.egress: the ways to backend and authorization servers; or networkPolicy.enabled=false" }}{{ end -}}
{{- end }}
