#include "dataplane/ebpf/pinned_maps.h"

#include "dataplane/ebpf/objects.h"

namespace ocicat::dataplane::ebpf {

Result<PinnedMaps> PinnedMaps::open(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!std::filesystem::exists(events_pin(folder), failed)) {
    if (failed && failed != std::errc::no_such_file_or_directory)
      return fail(ErrorCode::kPermission, "cannot look into {}: {}", folder.string(), failed.message());
    return fail(ErrorCode::kNotFound,
                "no eBPF datapath is pinned at {}: this host has none, or another folder (--bpf-folder)",
                folder.string());
  }
  PinnedMaps maps;
  maps.folder_ = events_pin(folder).parent_path();
  TRY(const auto objects, open_objects({.netfilter = true, .asking = true}));
  for (const auto& object : objects) {
    for (const auto* map : object.maps())
      maps.shapes_.emplace(kernel::bpf::name_of(map), kernel::bpf::shape_of(map));
  }
  return maps;
}

Result<UniqueFd> PinnedMaps::pin(const std::string& name) const {
  TRY(auto fd, kernel::bpf::open_pin(folder_ / name));
  TRY(const auto shape, kernel::bpf::shape_of(fd.get()));
  if (!(shape == shapes_.at(name))) {
    return fail(ErrorCode::kUnsupported,
                "map {} is pinned by a build with another layout: use the ocicat whose agent runs there",
                (folder_ / name).string());
  }
  return fd;
}

Result<kernel::bpf::MappedArray> PinnedMaps::array(const std::string& name) const {
  TRY(const auto fd, pin(name));
  return kernel::bpf::MappedArray::of(fd);
}

Result<std::unique_ptr<kernel::bpf::ElementMap>> PinnedMaps::elements(const std::string& name) const {
  TRY(auto fd, pin(name));
  TRY(auto map, kernel::bpf::KernelMap::of(std::move(fd)));
  return map;
}

Result<std::vector<std::uint64_t>> PinnedMaps::counters() const {
  TRY(const auto fd, pin("counters"));
  return kernel::bpf::sums_of(fd.get());
}

}  // namespace ocicat::dataplane::ebpf
