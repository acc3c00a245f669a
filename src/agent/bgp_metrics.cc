#include "agent/bgp_metrics.h"

#include <cstddef>
#include <map>
#include <string>

namespace ocicat::agent {
namespace {

prometheus::Family<prometheus::Gauge>& gauges_of(prometheus::Registry& registry, const char* name,
                                                 const char* help) {
  return prometheus::BuildGauge().Name(name).Help(help).Register(registry);
}

}  // namespace

BgpMetrics::BgpMetrics(prometheus::Registry& registry)
    : running_(gauges_of(registry, "ocicat_bgp_running", "1 while BIRD runs with what it is to do")),
      left_out_(gauges_of(registry, "ocicat_bgp_left_out", "Sessions that cannot be; the status says why")),
      sessions_(gauges_of(registry, "ocicat_bgp_sessions", "BGP sessions that are to be, by state")),
      imported_(gauges_of(registry, "ocicat_bgp_routes_imported", "Routes that came from a peer and count")),
      exported_(gauges_of(registry, "ocicat_bgp_routes_exported", "Routes that a peer is told")) {}

void BgpMetrics::show(const BgpReport& report) {
  std::map<Place, std::size_t> values;
  values[{&running_, {}}] = report.running && report.error.empty() ? 1 : 0;
  values[{&left_out_, {}}] = report.left_out.size();
  std::map<std::string, std::size_t> by_state{{"Established", 0}};
  std::size_t peers = 0;
  for (const auto& session : report.sessions) {
    ++by_state[session.state.state.empty() ? "Unknown" : session.state.state];
    if (++peers > kMaxSessions) continue;
    const prometheus::Labels peer{{"node", session.wanted.peer_node},
                                  {"peer", session.wanted.peer.to_string()}};
    values[{&imported_, peer}] = session.state.imported;
    values[{&exported_, peer}] = session.state.exported;
  }
  for (const auto& [state, count] : by_state) values[{&sessions_, {{"state", state}}}] = count;
  // One that stays is never away, whenever somebody looks.
  for (auto it = shown_.begin(); it != shown_.end();) {
    const auto shown = it++;
    if (values.contains(shown->first)) continue;
    shown->first.first->Remove(shown->second);
    shown_.erase(shown);
  }
  for (const auto& [place, value] : values) {
    auto& gauge = shown_[place];
    if (gauge == nullptr) gauge = &place.first->Add(place.second);
    gauge->Set(static_cast<double>(value));
  }
}

}  // namespace ocicat::agent
