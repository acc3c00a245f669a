// The eBPF objects of a host: maps and programs, adopted from their pins or made anew.
//
//   pins     FOLDER/maps/NAME, FOLDER/programs/NAME; keep everything in force when the agent ends
//   adopts   maps of the same layout; decision maps all or none. Programs only if they are of this very
//   build:
//            others are loaded over the adopted maps, so connections outlive an upgrade
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>

#include "dataplane/ebpf/attachments.h"
#include "dataplane/ebpf/table_image.h"
#include "kernel/bpf.h"
#include "kernel/bpf_ring.h"
#include "maps/endpoints.h"
#include "maps/host.h"

namespace ocicat::dataplane::ebpf {

class Objects {
 public:
  static Result<Objects> adopt_or_make(const std::filesystem::path& folder);

  bpf::host& host() const { return host_.as<bpf::host>().front(); }
  std::span<bpf::endpoint> endpoints() const { return endpoints_.as<bpf::endpoint>(); }
  TableMemory tables() const {
    return {programs_.as<bpf::program>(), vocabularies_.as<bpf::vocabulary>(), entries_.as<bpf::entry>(),
            cells_.as<bpf::cell>()};
  }
  kernel::bpf::ElementMap& addresses() const { return *addresses_; }
  kernel::bpf::ElementMap& classes() const { return *classes_; }
  kernel::bpf::ElementMap& nets() const { return *nets_; }
  kernel::bpf::ElementMap& dictionary() const { return *dictionary_; }
  const Programs& attachable() const { return attachable_; }

  // Once the maps say what is wanted and the programs are attached: a restart is to find them. How many pins.
  Result<std::size_t> keep();

 private:
  using Fds = std::map<std::string, UniqueFd>;

  Result<void> open_maps(const Fds& fds);

  std::filesystem::path folder_;
  Fds maps_;
  Programs attachable_;
  bool kept_ = false;
  kernel::bpf::MappedArray host_, endpoints_, programs_, vocabularies_, entries_, cells_;
  std::unique_ptr<kernel::bpf::ElementMap> addresses_, classes_, nets_, dictionary_;
};

// The pinned dictionary; nothing where there is none of this layout.
Result<std::unique_ptr<kernel::bpf::ElementMap>> open_dictionary(const std::filesystem::path& folder);
// Detaches and forgets everything.
Result<void> remove_objects(const std::filesystem::path& folder);
// Sums over the processors, by enum counter.
Result<std::vector<std::uint64_t>> read_counters(const std::filesystem::path& folder);

// What becomes of flows (bpf/maps/events.h), for its one reader. kNotFound: nothing is pinned yet.
Result<kernel::bpf::Ring> open_events(const std::filesystem::path& folder);
std::filesystem::path events_pin(const std::filesystem::path& folder);

// What clang has made of bpf/programs/.
std::span<const std::uint8_t> workload_object();

}  // namespace ocicat::dataplane::ebpf
