// What `ocicat bpf` shows of a host's pinned maps.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "dataplane/ebpf/pinned_maps.h"

namespace ocicat::cli {

struct BpfOptions {
  std::string folder;
  std::string lab;
  std::string host;
  std::string output;
  std::string address;
  std::uint32_t slot = 0;     // --endpoint
  std::uint32_t program = 0;  // --program
  std::size_t most = 1000;
};

// Each prints what there is as far as the options want it, as a table or as they say; an exit status.
Result<int> show_counters(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_connections(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_holders(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_endpoints(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_host_endpoints(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_programs(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_tables(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_classes(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);
Result<int> show_floating(const dataplane::ebpf::PinnedMaps& maps, const BpfOptions& options);

}  // namespace ocicat::cli
