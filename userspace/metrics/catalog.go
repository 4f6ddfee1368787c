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
