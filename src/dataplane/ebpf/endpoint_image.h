// Which addresses are served at which interface, and by which programs (bpf/maps/endpoints.h); and from where
// else workloads may send (bpf/maps/sources.h).
//
// Where two endpoints claim one interface and address, the one whose name is smaller has it and the other
// waits. The same for the right to send from elsewhere.
//
//   slots    the lowest that is free, of which hardly a connection is left: what a workload that has gone has left
//            in the table counts for the next one with its slot (bpf/maps/holders.h)
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
#include "dataplane/ebpf/table_image.h"
#include "dataplane/hosts/host_interfaces.h"
#include "engine/host_state.h"
#include "kernel/bpf.h"
#include "maps/endpoints.h"
#include "maps/holders.h"
#include "maps/sources.h"

namespace ocicat::dataplane::ebpf {

class EndpointImage {
 public:
  // Borrows all.
  EndpointImage(std::span<bpf::endpoint> endpoints, kernel::bpf::ElementMap& addresses,
                kernel::bpf::ElementMap& sources, const bpf::holders& holders);

  void want(const Changes<ResourceKey, EndpointState>& changes) { changes.apply_to(endpoints_); }
  // `open`: indexes of those that packets may be redirected from and to (bpf/maps/endpoints.h).
  void want_at(const Links& links, const std::set<int>& open);
  bool is_interface(const std::string& name) const;

  // The slots that are taken, by own address: of several workloads that have one, any.
  std::map<IpAddress, std::uint32_t> slots() const;

  // `concerned`: whose verdicts may have changed for connections that are open. Where these stay, those of an
  // address that comes are judged again all the same, and of a workload that is allowed other sources.
  Result<void> update(const Concerned& concerned, Step& step);
  // The same, whatever the maps hold.
  Result<void> resync(const Concerned& concerned, Step& step);

 private:
  using Place = std::pair<std::uint32_t, IpAddress>;  // interface, own address
  struct Served {
    bpf::endpoint_programs programs{};
    std::uint32_t chain = 0;        // of the place of any address
    std::vector<Prefix> sources{};  // likewise
  };
  std::map<Place, Served> wanted() const;
  std::uint32_t free_slot() const;  // there is one
  Result<void> take_place(const Place& place, Step& step);
  void leave_place(const Place& place, std::uint32_t slot, Step& step);
  void write_flags(const Place& place, std::uint32_t slot, Step& step);
  // Whether anything changes.
  Result<bool> write_sources(const Place& place, const std::vector<Prefix>& wanted, Step& step);
  // Whether there was anything odd, which goes.
  Result<bool> read_sources(Step& step);

  std::span<bpf::endpoint> memory_;
  kernel::bpf::ElementMap& addresses_;
  kernel::bpf::ElementMap& source_rights_;
  const bpf::holders& holders_;
  std::map<ResourceKey, EndpointState> endpoints_;
  std::map<std::string, std::uint32_t> interfaces_;  // by name, those that are there
  std::set<std::uint32_t> open_;
  std::map<Place, std::uint32_t> slots_;
  std::map<Place, std::set<Prefix>> sources_;  // as written, by the place of any address
  std::set<std::uint32_t> free_;
};

}  // namespace ocicat::dataplane::ebpf
