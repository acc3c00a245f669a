// Which addresses are served at which interface, and by which programs (bpf/maps/endpoints.h).
//
// Where two endpoints claim one interface and address, the one whose name is smaller has it and the other
// waits.
//
//   cost     of an update: the endpoints of the host
//   errors   kExhausted: more addresses than there are slots
#pragma once

#include <functional>
#include <map>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "dataplane/ebpf/step.h"
#include "engine/host_state.h"
#include "kernel/bpf.h"
#include "kernel/routes.h"
#include "maps/endpoints.h"

namespace ocicat::dataplane::ebpf {

class EndpointImage {
 public:
  // Borrows both.
  EndpointImage(std::span<bpf::endpoint> endpoints, kernel::bpf::ElementMap& addresses);

  void want(const Changes<ResourceKey, EndpointState>& changes) { changes.apply_to(endpoints_); }
  // `open`: indexes of those that packets may be redirected from and to (bpf/maps/endpoints.h).
  void want_at(const std::vector<kernel::Link>& links, const std::set<int>& open);
  bool is_interface(const std::string& name) const;

  // Whether verdicts of these programs may have changed for connections that are open.
  using Concerned = std::function<bool(policy::ProgramId)>;
  Result<void> update(const Concerned& concerned, Step& step);
  // The same, whatever the maps hold.
  Result<void> resync(const Concerned& concerned, Step& step);

 private:
  using Place = std::pair<std::uint32_t, IpAddress>;  // interface, own address
  std::map<Place, bpf::endpoint_programs> wanted() const;
  Result<void> take_place(const Place& place, Step& step);
  void leave_place(const Place& place, std::uint32_t slot, Step& step);

  std::span<bpf::endpoint> memory_;
  kernel::bpf::ElementMap& addresses_;
  std::map<ResourceKey, EndpointState> endpoints_;
  std::map<std::string, std::uint32_t> interfaces_;  // by name, those that are there
  std::set<std::uint32_t> open_;
  std::map<Place, std::uint32_t> slots_;
  std::set<std::uint32_t> free_;
};

}  // namespace ocicat::dataplane::ebpf
