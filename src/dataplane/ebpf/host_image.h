// What decides at host endpoints, and which interface has which (bpf/maps/host_endpoints.h).
//
//   cost     of an update: host endpoints and the interfaces with an entry
//   errors   kExhausted: more host endpoints, or interfaces, than there is room for
#pragma once

#include <map>
#include <set>
#include <span>
#include <string>

#include "dataplane/ebpf/step.h"
#include "dataplane/ebpf/table_image.h"
#include "dataplane/hosts/host_interfaces.h"
#include "kernel/bpf.h"
#include "maps/host_endpoints.h"

namespace ocicat::dataplane::ebpf {

class HostImage {
 public:
  // Borrows them.
  HostImage(std::span<bpf::host_endpoint> endpoints, kernel::bpf::ElementMap& names,
            std::span<bpf::interface_endpoint> interfaces)
      : memory_(endpoints), names_(names), interfaces_(interfaces) {}

  void want(const Changes<ResourceKey, HostEndpointState>& changes) { changes.apply_to(endpoints_); }
  // It may name host endpoints that are not there; they count for nothing.
  void want_at(const HostInterfaces& interfaces) { assigned_ = interfaces; }
  // Interfaces of workloads, known to us or not: what a host itself sends there nobody judges.
  void want_workloads(std::set<std::string> names) { workloads_ = std::move(names); }

  // Whether programs have anything to do; and whether any of it concerns what is forwarded.
  bool has_endpoints() const { return !endpoints_.empty(); }
  bool asks_forwarded() const;
  // Whether untracked policy is asked about what comes in by the interface, which is its own by name.
  bool has_untracked(const std::string& interface_name) const;
  // Whether anywhere, in either direction.
  bool has_untracked() const;

  Result<void> update(const Concerned& concerned, Step& step);
  // The same, whatever the maps hold.
  Result<void> resync(const Concerned& concerned, Step& step);

 private:
  using Names = std::map<std::string, std::uint32_t>;
  Names wanted() const;
  std::uint32_t id_of(const ResourceKey& key) const;
  // Those that differ, and those named in any case.
  Result<void> write_names(const std::set<std::string>& anyway, const Concerned& concerned, Step& step);
  Result<void> write_endpoints(const Concerned& concerned, Step& step);
  Result<void> put(const std::string& name, std::uint32_t before, std::uint32_t after, Step& step);
  Result<std::uint32_t> number_for(const std::string& name, std::uint32_t before, Step& step);
  Result<void> read_names(std::set<std::string>& unsettled, std::size_t side);

  std::span<bpf::host_endpoint> memory_;
  kernel::bpf::ElementMap& names_;
  std::span<bpf::interface_endpoint> interfaces_;
  std::map<ResourceKey, HostEndpointState> endpoints_;
  std::set<std::uint32_t> written_;  // ids with chains in the map, as far as is known
  HostInterfaces assigned_;
  std::set<std::string> workloads_;
  Names there_;    // which host endpoint, or a workload, has an interface
  Names numbers_;  // of names with an entry
  std::set<std::uint32_t> free_;
};

}  // namespace ocicat::dataplane::ebpf
