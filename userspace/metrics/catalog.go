package metrics

import "github.com/prometheus/client_golang/prometheus"

// metric is one entry of the catalog.
type metric struct {
	name   string
	kind   prometheus.ValueType
	help   string
	labels []string
}

// id names a metric of the catalog.
type id int

const (
	trafficPackets id = iota
	trafficBytes
	trafficFlows
	trafficKindPackets
	trafficKindBytes
	hostgroupPackets
	hostgroupBytes
	hostgroupFlows
	networkPackets
	networkBytes
	networkFlows
	hostPackets
	hostBytes
	hostFlows
	hostDropped
	hostCellsUsed
	hostCells
	attacks
	attacksStarted
	mitigationsActive
	mitigationsDropping
	mitigationsStarted
	mitigationsLifted
	ladderSteps
	rulesInForce
	rulesLeftOut
	hookCalls
	sinkUp
	sinkFailures
	sinkSent
	sinkLost
	mitigationsRefused
	mitigationDryRun
	mitigationKillSwitch
	dataplanePackets
	dataplaneBytes
	dataplaneAnomalous
	interfaceAttached
	bgpSpeakerUp
	bgpSpeakerRestarts
	bgpSessionUp
	bgpSessionUps
	bgpRoutes
	bgpRoutesRefused
	bgpMessages
	captureUp
	captureWorkers
	captureFrames
	captureRestarts
	flowExporters
	flowWorkers
	flowReceiveBuffer
	flowDatagrams
	flowBytes
	flowRecords
	flowDatagramsLost
	flowUndecodable
	flowFilterCalls
	flowFilterRecords
	flowFilterErrors
	flowFilterOff
	exporterDatagrams
	exporterRecords
	exporterRecordsLeftOut
	exporterPackets
	exporterBytes
	exporterLost
	exporterUnknownTemplates
	exporterErrors
	exporterTemplates
	exporterSamplingRate
	exporterClockOffset
	exporterActiveTimeout
	exporterInactiveTimeout
	exporterLastSeen
	exporterProblems
	losses
	ticksSkipped
	warmingUp
	configSuccess
	configTimestamp
	startTime
	buildInfo
	omittedSeries
	idCount
)

// The histogram of the main loop is not read from a snapshot, but observed.
const (
	tickName = "weir_tick_duration_seconds"
	tickHelp = "Time that one turn of the main loop took: reading counters, detection, mitigation. The loop turns every 10 ms."
)

// tickBuckets reach from a quiet turn over the loop's period (10 ms) to a second, after which detection is blind.
func tickBuckets() []float64 {
	return []float64{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1}
}

const (
	counter = prometheus.CounterValue
	gauge   = prometheus.GaugeValue
)

// catalog holds every metric's name and meaning, in the order of docs/METRICS.md.
func catalog() [idCount]metric {
	family := []string{"direction", "family"}
	kind := []string{"direction", "family", "kind"}
	hostgroup := []string{"hostgroup", "direction"}
	network := []string{"network", "direction"}
	host := []string{"host", "hostgroup", "direction"}
	peer := []string{"peer", "kind"}
	engine := []string{"interface", "engine"}
	exporter := []string{"exporter", "name"}
	return [idCount]metric{
		trafficPackets:     {"weir_traffic_packets_total", counter, "Packets counted, by direction and IP version.", family},
		trafficBytes:       {"weir_traffic_bytes_total", counter, "Frame bytes without FCS of the packets counted.", family},
		trafficFlows:       {"weir_traffic_flows_total", counter, "Flows: unique (source, destination, ports, protocol) within the flow interval.", family},
		trafficKindPackets: {"weir_traffic_kind_packets_total", counter, "Packets by kind: tcp, udp, icmp, tcp_syn (SYN without ACK, also tcp), fragments and dropped (both cut across).", kind},
		trafficKindBytes:   {"weir_traffic_kind_bytes_total", counter, "Frame bytes without FCS by kind, as for packets.", kind},

		hostgroupPackets: {"weir_hostgroup_packets_per_second", gauge, "Packets per second of a hostgroup's hosts together.", hostgroup},
		hostgroupBytes:   {"weir_hostgroup_bytes_per_second", gauge, "Frame bytes per second of a hostgroup's hosts together.", hostgroup},
		hostgroupFlows:   {"weir_hostgroup_flows_per_second", gauge, "Flows per second of a hostgroup's hosts together.", hostgroup},
		networkPackets:   {"weir_network_packets_per_second", gauge, "Packets per second of one of our networks.", network},
		networkBytes:     {"weir_network_bytes_per_second", gauge, "Frame bytes per second of one of our networks.", network},
		networkFlows:     {"weir_network_flows_per_second", gauge, "Flows per second of one of our networks.", network},
		hostPackets:      {"weir_host_packets_per_second", gauge, "Packets per second of the busiest hosts; how many is configured.", host},
		hostBytes:        {"weir_host_bytes_per_second", gauge, "Frame bytes per second of the busiest hosts.", host},
		hostFlows:        {"weir_host_flows_per_second", gauge, "Flows per second of the busiest hosts.", host},
		hostDropped:      {"weir_host_dropped_packets_per_second", gauge, "Packets per second of the busiest hosts that a ban dropped.", host},
		hostCellsUsed:    {"weir_host_cells_used", gauge, "Host cells in use, per direction.", nil},
		hostCells:        {"weir_host_cells", gauge, "Host cells there are, per direction.", nil},

		attacks:        {"weir_attacks", gauge, "Attacks by phase; suspected ones are not attacks yet.", []string{"phase"}},
		attacksStarted: {"weir_attacks_started_total", counter, "Attacks declared since the start.", nil},

		mitigationsActive:    {"weir_mitigations_active", gauge, "Bans in force, by hand, dry and script-only ones included.", nil},
		mitigationsDropping:  {"weir_mitigations_dropping", gauge, "Bans in force that drop packets.", nil},
		mitigationsStarted:   {"weir_mitigations_started_total", counter, "Bans begun since the start, by origin: automatic or manual.", []string{"origin"}},
		mitigationsLifted:    {"weir_mitigations_lifted_total", counter, "Bans ended since the start.", nil},
		ladderSteps:          {"weir_ladder_steps_total", counter, "Steps of attacks on their hostgroups' ladders, by way: up or down.", []string{"way"}},
		rulesInForce:         {"weir_rules", gauge, "Rules in XDP, by hand and by ladders, by mode: enforced or shadow.", []string{"mode"}},
		hookCalls:            {"weir_hook_calls_total", counter, "Calls of the script that has a say in decisions, by outcome: answered, veto, error.", []string{"outcome"}},
		sinkUp:               {"weir_export_up", gauge, "1 while the last call of the sink went well, or there was none yet.", []string{"sink"}},
		sinkFailures:         {"weir_export_failures_total", counter, "Calls of the sink that failed.", []string{"sink"}},
		sinkSent:             {"weir_export_sent_total", counter, "What the sink has taken, by kind: snapshots of traffic, changes of attacks, flow records.", []string{"sink", "kind"}},
		sinkLost:             {"weir_export_lost_total", counter, "What the sink has not got and will not get, by kind.", []string{"sink", "kind"}},
		rulesLeftOut:         {"weir_rules_left_out", gauge, "Rules that ladders ask for and XDP has no room for.", nil},
		mitigationsRefused:   {"weir_mitigations_refused_total", counter, "Attacks left alone and bans by hand refused, by the guard that did it.", []string{"reason"}},
		mitigationDryRun:     {"weir_mitigation_dry_run", gauge, "1 while mitigations are decided and reported only.", nil},
		mitigationKillSwitch: {"weir_mitigation_kill_switch", gauge, "1 while the kill switch keeps everything released.", nil},

		dataplanePackets:   {"weir_dataplane_packets_total", counter, "Packets by the reason they left the data plane.", []string{"reason"}},
		dataplaneBytes:     {"weir_dataplane_bytes_total", counter, "Frame bytes without FCS by the reason their packets left the data plane.", []string{"reason"}},
		dataplaneAnomalous: {"weir_dataplane_anomalous_packets_total", counter, "Packets counted for their hosts although broken behind the addresses.", []string{"anomaly"}},
		interfaceAttached:  {"weir_interface_attached", gauge, "1 while the interface is measured, 0 while it is missing or refused.", []string{"interface", "role", "mode"}},

		bgpSpeakerUp:       {"weir_bgp_speaker_up", gauge, "1 while the process that speaks BGP runs. Absent, as its restarts, when no BGP peer is configured.", nil},
		bgpSpeakerRestarts: {"weir_bgp_speaker_restarts_total", counter, "How often the process that speaks BGP ended and was started again.", nil},
		bgpSessionUp:       {"weir_bgp_session_up", gauge, "1 while the BGP session is established, or the other receiver (kind exabgp or gobgp) is connected.", peer},
		bgpSessionUps:      {"weir_bgp_session_ups_total", counter, "How often the session came up; begins anew with the speaker, as all counters of a peer.", peer},
		bgpRoutes:          {"weir_bgp_routes", gauge, "Routes announced, or to be announced as soon as the session is up, by address family.", []string{"peer", "kind", "family"}},
		bgpRoutesRefused:   {"weir_bgp_routes_refused", gauge, "Routes kept back now because the peer has as many as it may.", []string{"peer", "kind", "family"}},
		bgpMessages:        {"weir_bgp_messages_total", counter, "BGP messages, by direction: sent or received.", []string{"peer", "kind", "direction"}},

		captureUp:       {"weir_capture_up", gauge, "1 while the engine reads from the interface, 0 while something is wrong. Engines other than xdp only, as all of weir_capture_*.", []string{"interface", "engine", "mode"}},
		captureWorkers:  {"weir_capture_workers", gauge, "Goroutines that read from the interface.", engine},
		captureFrames:   {"weir_capture_frames_total", counter, "Frames by result: received; kernel_dropped, which found no room in the ring; dropped, which were cut off or malformed.", []string{"interface", "engine", "result"}},
		captureRestarts: {"weir_capture_restarts_total", counter, "How often the engine was opened again after its interface went away.", engine},

		flowExporters:     {"weir_flow_exporters", gauge, "Exporters known now. Absent, as all of weir_flow_* and weir_exporter_*, when no flow records are collected.", nil},
		flowWorkers:       {"weir_flow_workers", gauge, "Goroutines that receive and decode flow records.", nil},
		flowReceiveBuffer: {"weir_flow_receive_buffer_bytes", gauge, "Receive buffer of each UDP socket.", nil},
		flowDatagrams:     {"weir_flow_datagrams_total", counter, "Datagrams (over TCP: messages) taken in.", nil},
		flowBytes:         {"weir_flow_bytes_total", counter, "Bytes of the datagrams taken in.", nil},
		flowRecords:       {"weir_flow_records_total", counter, "Flow records and samples decoded.", nil},
		flowDatagramsLost: {"weir_flow_datagrams_lost_total", counter, "Datagrams not taken in, by reason: kernel, no room in the socket; refused, the sender is not allowed; max_exporters, more senders than there may be.", []string{"reason"}},
		flowUndecodable:   {"weir_flow_undecodable_total", counter, "Datagrams that could not be read, by protocol.", []string{"protocol"}},
		flowFilterCalls:   {"weir_flow_filter_calls_total", counter, "Calls of the filter script. Absent, as all of weir_flow_filter_*, without a filter.", nil},
		flowFilterRecords: {"weir_flow_filter_records_total", counter, "Records that a filter changed, by result: dropped or rescaled.", []string{"result"}},
		flowFilterErrors:  {"weir_flow_filter_errors_total", counter, "Calls of the filter script that failed, by kind: error or runaway. Their records are kept.", []string{"kind"}},
		flowFilterOff:     {"weir_flow_filter_switched_off", gauge, "1 while the filter script is not called because it took too long too often.", nil},

		exporterDatagrams:        {"weir_exporter_datagrams_total", counter, "Datagrams of an exporter. Its counters begin anew when it was silent for so long that it was forgotten.", exporter},
		exporterRecords:          {"weir_exporter_records_total", counter, "Flow records and samples of an exporter.", exporter},
		exporterRecordsLeftOut:   {"weir_exporter_records_left_out_total", counter, "Records not counted, by reason: withheld, their sampling rate is unknown; duplicate, counted already; filtered.", []string{"exporter", "name", "reason"}},
		exporterPackets:          {"weir_exporter_packets_total", counter, "Packets that an exporter's counted records stand for, with sampling multiplied in.", exporter},
		exporterBytes:            {"weir_exporter_bytes_total", counter, "Bytes that an exporter's counted records stand for, with sampling multiplied in.", exporter},
		exporterLost:             {"weir_exporter_lost_total", counter, "What the gaps in an exporter's sequence numbers say was lost, in its protocol's own unit: datagrams or records.", exporter},
		exporterUnknownTemplates: {"weir_exporter_unknown_templates_total", counter, "Sets of records whose template was not known when they came.", exporter},
		exporterErrors:           {"weir_exporter_errors_total", counter, "Datagrams of an exporter that could not be read.", exporter},
		exporterTemplates:        {"weir_exporter_templates", gauge, "Templates of an exporter that are known now.", exporter},
		exporterSamplingRate:     {"weir_exporter_sampling_rate", gauge, "One packet in so many, as the last record had it, and where that is from; 0: unknown.", []string{"exporter", "name", "origin"}},
		exporterClockOffset:      {"weir_exporter_clock_offset_seconds", gauge, "By how much an exporter's clock is ahead; records are corrected for it.", exporter},
		exporterActiveTimeout:    {"weir_exporter_active_timeout_seconds", gauge, "How often an exporter tells of a long flow; absent while unknown.", exporter},
		exporterInactiveTimeout:  {"weir_exporter_inactive_timeout_seconds", gauge, "How long an exporter waits before it tells of a flow that ended; absent while unknown.", exporter},
		exporterLastSeen:         {"weir_exporter_last_seen_timestamp_seconds", gauge, "When an exporter was last heard, Unix time.", exporter},
		exporterProblems:         {"weir_exporter_problems", gauge, "Problems of an exporter, which `weir exporters` names with their remedies.", exporter},

		losses:       {"weir_losses_total", counter, "Whatever was lost or given up: by where, see below.", []string{"where"}},
		ticksSkipped: {"weir_ticks_skipped_total", counter, "Turns of the main loop left out because the one before took too long.", nil},

		warmingUp:       {"weir_warming_up", gauge, "1 while no attack is declared because the daemon has just started or its clock has jumped.", nil},
		configSuccess:   {"weir_config_last_reload_successful", gauge, "1 if the configuration file as last read is in force, 0 if it was refused.", nil},
		configTimestamp: {"weir_config_last_reload_success_timestamp_seconds", gauge, "When the configuration in force was read, Unix time.", nil},
		startTime:       {"weir_start_time_seconds", gauge, "When the daemon started, Unix time.", nil},
		buildInfo:       {"weir_build_info", gauge, "Always 1; what the daemon was built from.", []string{"version", "revision", "goversion"}},
		omittedSeries:   {"weir_metrics_omitted_series", gauge, "Series left out of this answer to keep it bounded, by the label that has too many values.", []string{"label"}},
	}
}
