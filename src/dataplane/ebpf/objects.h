// The eBPF objects of a host: maps and programs, adopted from their pins or made anew.
//
//   pins     FOLDER/maps/NAME, FOLDER/programs/NAME; keep everything in force when the agent ends
//   adopts   maps of the same layout; decision maps all or none. Programs only if they are of this very
//            build: others are loaded over the adopted maps, so connections outlive an upgrade. Those in maps
//            of another layout can be read until the new ones are pinned
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "dataplane/ebpf/attachments.h"
#include "dataplane/ebpf/connection_table.h"
#include "dataplane/ebpf/host_hooks.h"
#include "dataplane/ebpf/net_image.h"
#include "dataplane/ebpf/older_connections.h"
#include "dataplane/ebpf/table_image.h"
#include "kernel/bpf.h"
#include "kernel/bpf_ring.h"
#include "maps/endpoints.h"
#include "maps/host.h"
#include "maps/host_endpoints.h"
#include "maps/tunnels.h"

namespace ocicat::dataplane::ebpf {

struct Skeletons;

class Objects {
 public:
  // `asked_by`: who asks the programs of host endpoints; where nobody does, there are none.
  static Result<Objects> adopt_or_make(const std::filesystem::path& folder, AskedBy asked_by);

  bpf::host& host() const { return host_.as<bpf::host>().front(); }
  bpf::timeouts& timeouts() const { return timeouts_.as<bpf::timeouts>().front(); }
  const bpf::holders& holders() const { return holders_.as<bpf::holders>().front(); }
  std::span<bpf::endpoint> endpoints() const { return endpoints_.as<bpf::endpoint>(); }
  // Valid as long as this stays where it is.
  TableMemory tables() {
    return {programs_.as<bpf::program>(), chains_.as<bpf::chain>(), vocabularies_.as<bpf::vocabulary>(),
            kernel::bpf::Elements<bpf::entry>(entries_), kernel::bpf::Elements<bpf::cell>(cells_)};
  }
  NetMemory nets() {
    return {NetMemory::Elements<NetMemory::Roots>(net_roots_), NetMemory::Elements<bpf::net_node>(net_nodes_),
            NetMemory::Elements<std::uint32_t>(net_classes_), NetMemory::Elements<NetMemory::All>(net_all_)};
  }
  std::span<bpf::host_endpoint> host_endpoints() const { return host_endpoints_.as<bpf::host_endpoint>(); }
  std::span<bpf::tunnel> tunnels() const { return tunnels_.as<bpf::tunnel>(); }
  kernel::bpf::ElementMap& vteps() const { return *vteps_; }
  kernel::bpf::ElementMap& floating() const { return *floating_; }
  kernel::bpf::ElementMap& host_addresses() const { return *host_addresses_; }
  kernel::bpf::ElementMap& addresses() const { return *addresses_; }
  kernel::bpf::ElementMap& sources() const { return *sources_; }
  kernel::bpf::ElementMap& host_interfaces() const { return *host_interfaces_; }
  std::span<bpf::interface_endpoint> interface_endpoints() const {
    return interface_endpoints_.as<bpf::interface_endpoint>();
  }
  kernel::bpf::ElementMap& dictionary() const { return *dictionary_; }
  ConnectionTable& connections() const { return *connections_; }
  const Programs& attachable() const { return attachable_; }
  const HostPrograms& host_programs() const { return host_programs_; }

  // Whether no connections were found that a datapath before this one has tracked.
  bool tracks_anew() const { return tracks_anew_; }
  // Those that were found in a map of another layout; nullptr: none.
  const OlderConnections* older_connections() const { return older_ ? &*older_ : nullptr; }
  // Once they are taken over, or are nobody's any more.
  void forget_older() { older_.reset(); }

  // Once the maps say what is wanted and the programs are attached: a restart is to find them. How many pins.
  Result<std::size_t> keep();

 private:
  // That map of a skeleton.
  const UniqueFd& fd(const bpf_map* map) const { return maps_.at(kernel::bpf::name_of(map)); }
  bool is_there(const bpf_map* map) const { return maps_.contains(kernel::bpf::name_of(map)); }
  void forget(const bpf_map* map) { maps_.erase(kernel::bpf::name_of(map)); }
  Result<void> open_maps();
  Result<void> adopt_maps(const kernel::bpf::Object& object);
  Result<void> use_maps(kernel::bpf::Object& object) const;
  Result<void> make_maps(kernel::bpf::Object& object);
  Result<void> load_programs();
  Result<void> find_older();
  Result<void> remove_leftovers();

  std::filesystem::path folder_;
  std::shared_ptr<Skeletons> skeletons_;  // until what they make is pinned
  std::map<std::string, UniqueFd> maps_;
  Programs attachable_;
  HostPrograms host_programs_;
  AskedBy asked_by_ = AskedBy::kNobody;
  bool all_there_ = true;
  bool tracks_anew_ = false;
  kernel::bpf::MappedArray host_, timeouts_, holders_, endpoints_, programs_, vocabularies_, chains_,
      host_endpoints_, interface_endpoints_, tunnels_;
  kernel::bpf::GrowingArray entries_, cells_, net_roots_, net_nodes_, net_classes_, net_all_;
  std::unique_ptr<kernel::bpf::ElementMap> addresses_, sources_, host_interfaces_, dictionary_, vteps_,
      floating_, host_addresses_;
  std::unique_ptr<ConnectionTable> connections_;
  std::optional<OlderConnections> older_;
};

// The pinned dictionary; nothing where there is none of this layout.
Result<std::unique_ptr<kernel::bpf::ElementMap>> open_dictionary(const std::filesystem::path& folder);
// The pinned connections; nothing where there are none of this layout.
Result<std::unique_ptr<kernel::bpf::ElementMap>> open_connections(const std::filesystem::path& folder);
// Detaches and forgets everything.
Result<void> remove_objects(const std::filesystem::path& folder);
// Whether the pins are of this very build.
bool is_kept(const std::filesystem::path& folder);
// Sums over the processors, by enum counter.
Result<std::vector<std::uint64_t>> read_counters(const std::filesystem::path& folder);

// What becomes of flows (bpf/maps/events.h), for its one reader. kNotFound: nothing is pinned yet.
Result<kernel::bpf::Ring> open_events(const std::filesystem::path& folder);
std::filesystem::path events_pin(const std::filesystem::path& folder);
// Where maps of this layout are pinned.
std::filesystem::path maps_of(const std::filesystem::path& folder);

// What is made of bpf/programs/, opened and not loaded: datapath.c, and what is of other types and shares its maps, as far as
// the kernel has a use for it.
Result<std::vector<kernel::bpf::Object>> open_objects(const kernel::bpf::Abilities& can);

}  // namespace ocicat::dataplane::ebpf
