#include "network/bgp/bird_configuration.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "network/bgp/bird_text.h"

namespace ocicat::network::bgp {

std::string comment(std::string_view text) {
  std::string line = "# ";
  for (const char c : text) line += static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
  return line + "\n";
}

std::string prefix_set(const std::vector<Prefix>& prefixes, bool deeper) {
  std::string text;
  for (const auto& prefix : prefixes)
    text += fmt::format("{}{}{}", text.empty() ? "[ " : ", ", prefix.to_string(), deeper ? "+" : "");
  return text + " ]";
}

int digit(Family family) {
  return family == Family::kIpv4 ? 4 : 6;
}

std::string add_community(const Community& community) {
  const auto& [a, b, c] = community.parts;
  return community.large ? fmt::format("bgp_large_community.add(({}, {}, {}));", a, b, c)
                         : fmt::format("bgp_community.add(({}, {}));", a, b);
}

namespace {

// After so long without a word a neighbour is given up, unless it asks for less, or a keepalive time is set:
// then after three of these (RFC 4271, section 10).
constexpr std::int64_t kHoldTime = 90;

// The metric of a route in the kernel and the preference that hosts of one AS tell each other are two sides
// of one number: what is better for the one is better for the others.
constexpr std::string_view kRouteMetric = R"(function route_metric()
{
  if source = RTS_BGP && defined(bgp_local_pref) then return 2147483647 - bgp_local_pref;
  if defined(krt_metric) then return krt_metric;
  return 0;
}

)";

std::string logging(const std::string& severity, const std::string& file) {
  constexpr std::array kClasses{"trace", "debug", "info",  "remote", "warning",
                                "error", "auth",  "fatal", "bug"};
  static const std::map<std::string, std::size_t, std::less<>> kFirst{
      {"trace", 0}, {"debug", 1}, {"info", 2}, {"warning", 4}, {"error", 5}, {"fatal", 7}};
  std::string lower = severity;
  std::ranges::transform(lower, lower.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  const auto it = kFirst.find(lower);
  const auto first = it == kFirst.end() ? kFirst.at("info") : it->second;
  const auto where = file.empty() ? "stderr" : fmt::format("\"{0}\" 4194304 \"{0}.1\"", file);
  std::string text =
      fmt::format("log {} {{ {} }};\n", where, fmt::join(kClasses.begin() + first, kClasses.end(), ", "));
  if (first == 0) text += "debug protocols all;\n";
  if (first == 1) text += "debug protocols { states, events };\n";
  return text;
}

class Writer {
 public:
  Writer(const BgpIntent& intent, const std::string& log_file) : intent_(intent), log_file_(log_file) {}

  std::string write() {
    text_ +=
        "# Written by the agent of this host, and written again: change BGPConfiguration, BGPPeer and "
        "BGPFilter.\n";
    text_ += logging(intent_.log_severity, log_file_);
    text_ += "timeformat protocol \"%Y-%m-%dT%H:%M:%S%z\";\n";
    text_ += fmt::format("router id {};\n\n", intent_.router_id.to_string());
    text_ += kRouteMetric;
    text_ += filter_functions(intent_.filters);
    for (const auto family : kFamilies) {
      communities(family);
      aggregation(family);
      exporting(family);
      kernel_filters(family);
    }
    devices();
    for (const auto family : kFamilies) {
      kernel(family);
      statics(family);
      next_hops(family);
    }
    for (const auto& session : intent_.sessions) neighbour(session);
    return std::move(text_);
  }

 private:
  template <class... Args>
  void line(fmt::format_string<Args...> format, Args&&... args) {
    text_ += fmt::format(format, std::forward<Args>(args)...);
    text_ += '\n';
  }
  void when_in(const std::vector<Prefix>& prefixes, bool deeper, std::string_view then) {
    if (!prefixes.empty()) line("  if net ~ {} then {}", prefix_set(prefixes, deeper), then);
  }

  void communities(Family family) {
    line("function communities{}()\n{{", digit(family));
    for (const auto& [cidr, communities] : intent_.of(family).advertisements) {
      std::string added;
      for (const auto& community : communities) added += fmt::format(" {}", add_community(community));
      if (!added.empty()) line("  if net ~ [ {}+ ] then {{{} }}", cidr.to_string(), added);
    }
    line("}}\n");
  }

  // A block of this host stands for what is inside. What is better than an ordinary route, and than what the agent
  // writes, as while a workload moves, is told by itself; a reflector passes on what others say of addresses inside.
  void aggregation(Family family) {
    const auto& here = intent_.of(family);
    line("function aggregate{}()\n{{", digit(family));
    when_in(here.unconfirmed_blocks, false, "reject;");
    when_in(here.confirmed_blocks, false, "accept;");
    if (!here.confirmed_blocks.empty()) {
      line("  if net ~ {} then {{", prefix_set(here.confirmed_blocks, true));
      if (intent_.reflector_cluster) line("    if source = RTS_BGP then accept;");
      line("    if route_metric() > 0 && route_metric() < {} then accept;",
           std::min(here.metric, kAgentMetric));
      line("    reject;\n  }}");
    }
    line("}}\n");
  }

  // What every neighbour is told where no filter decides. `internal_peer`: of our AS.
  void exporting(Family family) {
    const auto& here = intent_.of(family);
    line("function export{}(bool internal_peer)\n{{", digit(family));
    when_in(here.hidden_pools, true, "reject;");
    // What leads into a tunnel others have themselves, but not the way to this end of it, where that is an address
    // of another host's block in a pool without a tunnel.
    line("  if internal_peer && source != RTS_DEVICE && ifname ~ \"vxlan*.calico\" then reject;");
    line("  if internal_peer && source != RTS_DEVICE && ifname ~ \"tunl0\" then reject;");
    line("  if internal_peer && ifname ~ \"w*g*.cali\" then reject;");
    line("  if source = RTS_INHERIT && defined(krt_metric) then bgp_local_pref = 2147483647 - krt_metric;");
    line("  communities{}();", digit(family));
    line("  aggregate{}();", digit(family));
    if (!here.services.empty()) line("  if proto = \"services{}\" then accept;", digit(family));
    if (intent_.reflector_cluster && !here.service_nets.empty())
      line("  if source = RTS_BGP && net ~ {} then accept;", prefix_set(here.service_nets, true));
    when_in(here.exported_pools, true, "accept;");
    line("  reject;\n}}\n");
  }

  void kernel_filters(Family family) {
    const auto& here = intent_.of(family);
    // What the agent wrote, protocol 80, is where a workload of this host is: it comes before what others
    // say. Its routes by other hosts stand in until what these say themselves is heard; its blackholes are
    // this host's blocks, which BIRD knows itself, and leaves to the agent: written here, each one would wait
    // for the kernel before a neighbour is told. Protocol 81 are the agent's copies of what a BIRD that died
    // has left.
    line("filter from_kernel{}\n{{\n  if krt_source = 80 && krt_metric = {} then reject;", digit(family),
         kStandInMetric);
    line("  if krt_source = {} then reject;", kCopyProtocol);
    line("  if krt_source = 80 && dest = RTD_BLACKHOLE then reject;");
    line("  if krt_source = 80 then preference = 200;\n  accept;\n}}\n");
    line("filter to_kernel{}\n{{\n  if source = RTS_DEVICE || proto = \"blocks{}\" then reject;",
         digit(family), digit(family));
    when_in(here.service_nets, true, "reject;");
    when_in(here.unprogrammed_pools, true, "reject;");
    // The agent's own routes are before those of the same metric: of two by gateways IPv6 would make one route of
    // two ways, which goes as a whole when BIRD removes its own.
    line(
        "  if source = RTS_BGP && defined(bgp_local_pref) then {{\n    krt_metric = 2147483647 - "
        "bgp_local_pref;");
    line("    if krt_metric = {} then krt_metric = {};\n  }}", kAgentMetric, kAgentMetric + 1);
    line("  accept;\n}}\n");
  }

  void devices() {
    line("protocol device {{ scan time 10; }}\n");
    std::string patterns = "-\"cali*\", -\"kube-ipvs*\"";
    for (const auto& pattern : intent_.ignored_interfaces) patterns += fmt::format(", -\"{}\"", pattern);
    line("protocol direct {{\n  ipv4;\n  ipv6;\n  interface {}, \"*\";\n}}\n", patterns);
  }

  // `persist`: routes stay when BIRD goes. Metric 0: each route brings its own.
  void kernel(Family family) {
    const int n = digit(family);
    line("protocol kernel kernel{0} {{\n  ipv{0} {{", n);
    line("    import filter from_kernel{0};\n    export filter to_kernel{0};\n  }};", n);
    line("  learn;\n  persist;\n  scan time 10;\n  graceful restart;\n  merge paths on;\n  metric 0;\n}}\n");
  }

  void statics(Family family) {
    const auto& here = intent_.of(family);
    std::set<Prefix> blocks(here.confirmed_blocks.begin(), here.confirmed_blocks.end());
    blocks.insert(here.unconfirmed_blocks.begin(), here.unconfirmed_blocks.end());
    std::string routes;
    for (const auto& block : blocks) {
      if (!block.is_host()) routes += fmt::format("  route {} blackhole;\n", block.to_string());
    }
    static_protocol("blocks", family, routes);
    routes.clear();
    for (const auto& service : here.services)
      routes += fmt::format("  route {} blackhole;\n", service.to_string());
    static_protocol("services", family, routes);
    std::map<IpAddress, IpAddress> gateways;  // the first, where several say one for the same neighbour
    for (const auto& session : intent_.sessions) {
      if (session.family() == family && session.reachable_by)
        gateways.emplace(session.peer, *session.reachable_by);
    }
    routes.clear();
    for (const auto& [peer, gateway] : gateways)
      routes += fmt::format("  route {} via {};\n", Prefix::host(peer).to_string(), gateway.to_string());
    static_protocol("gateways", family, routes);
  }

  void static_protocol(std::string_view name, Family family, const std::string& routes) {
    if (routes.empty()) return;
    line("protocol static {}{} {{\n  ipv{};\n{}}}\n", name, digit(family), digit(family), routes);
  }

  // Where next hops are looked up: what neighbours have told is not there. What a filter lets them tell, their links or a
  // default route, would else come before what this host has itself, and lead to a next hop by way of another one,
  // which BIRD calls unreachable.
  void next_hops(Family family) {
    line("ipv{0} table near{0};\n", digit(family));
    line(
        "protocol pipe to_near{0} {{ table master{0}; peer table near{0}; import none; "
        "export where source != RTS_BGP; }}\n",
        digit(family));
  }

  void neighbour(const Session& session) {
    text_ += comment(session.because + (session.peer_node.empty() ? "" : ", Node " + session.peer_node));
    line("protocol bgp {} {{", session.name);
    const auto local = session.local ? session.local->to_string() + " " : "";
    const auto port = intent_.listen_port == kDefaultPort ? "" : fmt::format("port {} ", intent_.listen_port);
    line("  local {}{}as {};", local, port, session.local_as);
    line("  neighbor {} port {} as {};", session.peer.to_string(), session.port, session.peer_as);
    if (session.ttl_hops) {
      line("  multihop {};\n  ttl security on;", std::max<int>(*session.ttl_hops, 1));
    } else {
      line("  multihop;");
    }
    if (intent_.binds_node_address && session.local) line("  strict bind on;");
    if (session.passive) line("  passive on;");
    if (session.password) line("  password \"{}\";", *session.password);
    if (session.reflector_client)
      line("  rr client;\n  rr cluster id {};", intent_.reflector_cluster->to_string());
    if (session.allowed_local_as_numbers) line("  allow local as {};", *session.allowed_local_as_numbers);
    if (session.keepalive_time) {
      const auto seconds = std::clamp<std::int64_t>(session.keepalive_time->count(), 1, 21845);
      line("  hold time {};\n  keepalive time {};", 3 * seconds, seconds);
    } else {
      line("  hold time {};", kHoldTime);
    }
    // FRR says of every net that it may be kept for ever, also where it does not restart gracefully itself.
    line("  graceful restart on;\n  long lived graceful restart off;");
    if (session.restart_time)
      line("  graceful restart time {};", std::clamp<std::int64_t>(session.restart_time->count(), 0, 4095));
    line("  connect delay time 1;\n  connect retry time 5;\n  error wait time 1, 30;");
    channel(session);
    line("}}\n");
  }

  void channel(const Session& session) {
    const auto family = session.family();
    const auto calls = [&](bool exports) {
      std::string text;
      for (const auto& name : session.filters) {
        if (const auto call = filter_call(intent_.filters, name, exports, family, !session.internal());
            !call.empty())
          text += " " + call;
      }
      return text;
    };
    line("  ipv{} {{", digit(family));
    line("    import filter {{{} accept; }};", calls(false));
    const auto exports = calls(true);
    // Before a filter that lets everything pass: what is of one link alone is nobody else's.
    const auto* of_a_link = exports.empty()           ? ""
                            : family == Family::kIpv4 ? " if net ~ [ 169.254.0.0/16+ ] then reject;"
                                                      : " if net ~ [ fe80::/10+ ] then reject;";
    line("    export filter {{{}{} export{}({}); }};", of_a_link, exports, digit(family), session.internal());
    // What came from another AS came by a link that only this host has.
    if (session.next_hop == BgpPeer::NextHop::kAuto && session.internal()) line("    next hop self ebgp;");
    if (session.next_hop == BgpPeer::NextHop::kSelf) line("    next hop self;");
    if (session.next_hop == BgpPeer::NextHop::kKeep) line("    next hop keep;");
    line("    gateway recursive;\n    igp table near{};\n  }};", digit(family));
  }

  const BgpIntent& intent_;
  const std::string& log_file_;
  std::string text_;
};

}  // namespace

std::string bird_configuration(const BgpIntent& intent, const std::string& log_file) {
  return Writer(intent, log_file).write();
}

}  // namespace ocicat::network::bgp
