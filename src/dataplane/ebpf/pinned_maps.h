// The pinned maps of a host, to be read by somebody else than its agent, which may be dead.
//
//   cost    arrays are looked at where they are, hashes a few hundred elements at a time; nothing is copied
//   truth   each element as it is at that moment; what was looked at before may be of an older batch
//   errors  kNotFound: nothing is pinned there; kUnsupported: by a build with other layouts
#pragma once

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "kernel/bpf.h"

namespace ocicat::dataplane::ebpf {

class PinnedMaps {
 public:
  static Result<PinnedMaps> open(const std::filesystem::path& folder);

  Result<kernel::bpf::MappedArray> array(const std::string& name) const;
  Result<std::unique_ptr<kernel::bpf::ElementMap>> elements(const std::string& name) const;
  // Sums over the processors, by enum counter.
  Result<std::vector<std::uint64_t>> counters() const;

 private:
  Result<UniqueFd> pin(const std::string& name) const;

  std::filesystem::path folder_;
  std::map<std::string, kernel::bpf::MapShape> shapes_;
};

}  // namespace ocicat::dataplane::ebpf
