#include "engine/host_state.h"

#include <algorithm>

#include <utility>

namespace ocicat {

bool EndpointState::may_send_from(const IpAddress& address) const {
  return std::ranges::any_of(sources, [&](const Prefix& source) { return source.contains(address); });
}

void HostChanges::apply_to(HostState& state) const {
  if (settings) state.settings = *settings;
  state.tables.apply(tables);
  endpoints.apply_to(state.endpoints);
  host_endpoints.apply_to(state.host_endpoints);
  routes.apply_to(state.routes);
  if (vxlan) state.vxlan = *vxlan;
  if (ipip) state.ipip = *ipip;
  peers.apply_to(state.peers);
  floating.apply_to(state.floating);
}

void HostChanges::absorb(HostChanges later) {
  if (later.settings) settings = std::move(later.settings);
  tables.absorb(std::move(later.tables));
  endpoints.absorb(std::move(later.endpoints));
  host_endpoints.absorb(std::move(later.host_endpoints));
  routes.absorb(std::move(later.routes));
  if (later.vxlan) vxlan = later.vxlan;
  if (later.ipip) ipip = later.ipip;
  peers.absorb(std::move(later.peers));
  floating.absorb(std::move(later.floating));
  refused.absorb(std::move(later.refused));
  bounded.absorb(std::move(later.bounded));
  for (const auto& [kind, revision] : later.revisions) revisions.insert_or_assign(kind, revision);
}

bool HostChanges::empty() const {
  return only_tells() && refused.empty() && bounded.empty() && revisions.empty();
}

bool HostChanges::only_tells() const {
  return !settings && tables.empty() && endpoints.empty() && host_endpoints.empty() && routes.empty() &&
         !vxlan && !ipip && peers.empty() && floating.empty();
}

}  // namespace ocicat
