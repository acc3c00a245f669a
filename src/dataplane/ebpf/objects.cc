#include "dataplane/ebpf/objects.h"

#include <fcntl.h>

#include <algorithm>
#include <string_view>

#include "base/digest.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::KernelMap;
using kernel::bpf::MappedArray;
using kernel::bpf::MapShape;

constexpr std::array kDecisionMaps{"host",     "endpoints",    "addresses", "classes", "nets",
                                   "programs", "vocabularies", "entries",   "cells",   "dictionary"};

struct ProgramName {
  Role role;
  kernel::bpf::Hook hook;
  const char* name;
};
constexpr std::array kPrograms{ProgramName{Role::kWorkload, kernel::bpf::Hook::kIngress, "from_workload"},
                               ProgramName{Role::kWorkload, kernel::bpf::Hook::kEgress, "to_workload"},
                               ProgramName{Role::kHost, kernel::bpf::Hook::kIngress, "from_network"}};

std::filesystem::path map_folder(const std::filesystem::path& folder) {
  return folder / fmt::format("maps-v{}", static_cast<int>(bpf::LAYOUT_VERSION));
}

Digest build() {
  const auto object = workload_object();
  return Digest::of({reinterpret_cast<const char*>(object.data()), object.size()});
}

Result<UniqueFd> copy_of(const UniqueFd& fd) {
  UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno("keep a descriptor", errno);
  return copy;
}

// The pinned map, if it looks as it should.
Result<std::optional<UniqueFd>> adoptable(const std::filesystem::path& file, const MapShape& shape) {
  auto fd = kernel::bpf::open_pin(file);
  if (!fd && fd.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!fd) return std::unexpected(fd.error());
  TRY(const auto there, kernel::bpf::shape_of(fd->get()));
  if (!(there == shape)) return std::nullopt;
  return std::optional(std::move(*fd));
}

Result<std::optional<Programs>> pinned_programs(const std::filesystem::path& folder) {
  Programs programs;
  for (const auto& [role, hook, name] : kPrograms) {
    auto fd = kernel::bpf::open_pin(folder / "programs" / name);
    if (!fd && fd.error().code == ErrorCode::kNotFound) return std::nullopt;
    if (!fd) return std::unexpected(fd.error());
    programs.at(role, hook) = std::move(*fd);
  }
  return programs;
}

}  // namespace

Result<void> Objects::open_maps(const Fds& fds) {
  const auto mapped = [&](const char* name, MappedArray& array) -> Result<void> {
    TRY(array, MappedArray::of(fds.at(name)));
    return {};
  };
  TRY_VOID(mapped("host", host_));
  TRY_VOID(mapped("endpoints", endpoints_));
  TRY_VOID(mapped("programs", programs_));
  TRY_VOID(mapped("vocabularies", vocabularies_));
  TRY_VOID(mapped("entries", entries_));
  TRY_VOID(mapped("cells", cells_));
  const auto elements = [&](const char* name, std::unique_ptr<kernel::bpf::ElementMap>& map) -> Result<void> {
    TRY(auto fd, copy_of(fds.at(name)));
    TRY(map, KernelMap::of(std::move(fd), std::string_view(name) == "classes"));
    return {};
  };
  TRY_VOID(elements("addresses", addresses_));
  TRY_VOID(elements("classes", classes_));
  TRY_VOID(elements("nets", nets_));
  return elements("dictionary", dictionary_);
}

Result<Objects> Objects::adopt_or_make(const std::filesystem::path& folder) {
  TRY(auto object, kernel::bpf::Object::open(workload_object(), "ocicat"));
  Objects objects;
  objects.folder_ = folder;
  bool all_there = true;
  for (const auto& [name, shape] : object.maps()) {
    TRY(auto fd, adoptable(map_folder(folder) / name, shape));
    if (fd) objects.maps_.emplace(name, std::move(*fd));
    all_there = all_there && fd.has_value();
  }
  // Connections name batches and slots. Where those begin anew, the numbers go on, so all are judged again;
  // where nobody knows the numbers, connections begin anew as well.
  std::uint64_t batch = 0;
  const auto is_there = [&](const char* name) { return objects.maps_.contains(name); };
  if (!std::ranges::all_of(kDecisionMaps, is_there)) {
    if (is_there("host")) {
      TRY(const auto host, MappedArray::of(objects.maps_.at("host")));
      batch = host.as<bpf::host>().front().batch + 2;
    } else {
      for (const auto* name : {"connections", "fragments"}) objects.maps_.erase(name);
    }
    for (const auto* name : kDecisionMaps) objects.maps_.erase(name);
  }
  if (all_there) {
    TRY_VOID(objects.open_maps(objects.maps_));
    TRY(auto programs, pinned_programs(folder));
    if (programs && std::ranges::equal(objects.host().build, build().bytes)) {
      objects.attachable_ = std::move(*programs);
      objects.kept_ = true;
      return objects;
    }
  }
  for (const auto& [name, fd] : objects.maps_) TRY_VOID(object.use(name, fd.get()));
  TRY_VOID(object.load());
  for (const auto& [name, unused] : object.maps()) {
    TRY(auto fd, object.map(name));
    objects.maps_.insert_or_assign(name, std::move(fd));
  }
  for (const auto& [role, hook, name] : kPrograms) {
    TRY(objects.attachable_.at(role, hook), object.program(name));
  }
  TRY_VOID(objects.open_maps(objects.maps_));
  if (batch != 0) objects.host().batch = batch;
  return objects;
}

Result<std::size_t> Objects::keep() {
  if (kept_) return 0;
  TRY_VOID(kernel::bpf::make_pin_folder(map_folder(folder_)));
  TRY_VOID(kernel::bpf::make_pin_folder(folder_ / "programs"));
  for (const auto& [name, fd] : maps_) TRY_VOID(kernel::bpf::pin(fd.get(), map_folder(folder_) / name));
  for (const auto& [role, hook, name] : kPrograms) {
    TRY_VOID(kernel::bpf::pin(attachable_.at(role, hook).get(), folder_ / "programs" / name));
  }
  std::ranges::copy(build().bytes, host().build);
  kept_ = true;
  return maps_.size() + kPrograms.size();
}

Result<std::unique_ptr<kernel::bpf::ElementMap>> open_dictionary(const std::filesystem::path& folder) {
  TRY(const auto object, kernel::bpf::Object::open(workload_object(), "ocicat"));
  for (const auto& [name, shape] : object.maps()) {
    if (name != "dictionary") continue;
    TRY(auto fd, adoptable(map_folder(folder) / name, shape));
    if (!fd) return nullptr;
    TRY(auto map, KernelMap::of(std::move(*fd)));
    return map;
  }
  CHECK(false);
}

Result<void> remove_objects(const std::filesystem::path& folder) {
  std::error_code failed;
  std::filesystem::remove_all(folder, failed);
  if (failed) return fail(ErrorCode::kPermission, "cannot remove {}: {}", folder.string(), failed.message());
  return {};
}

Result<std::vector<std::uint64_t>> read_counters(const std::filesystem::path& folder) {
  TRY(const auto fd, kernel::bpf::open_pin(map_folder(folder) / "counters"));
  return kernel::bpf::sums_of(fd.get());
}

Result<kernel::bpf::Ring> open_events(const std::filesystem::path& folder) {
  TRY(const auto fd, kernel::bpf::open_pin(events_pin(folder)));
  return kernel::bpf::Ring::of(fd);
}

std::filesystem::path events_pin(const std::filesystem::path& folder) {
  return map_folder(folder) / "events";
}

}  // namespace ocicat::dataplane::ebpf
