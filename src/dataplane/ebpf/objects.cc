#include "dataplane/ebpf/objects.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <cstddef>
#include <future>
#include <iterator>
#include <string_view>

#include "base/digest.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::GrowingArray;
using kernel::bpf::KernelMap;
using kernel::bpf::MappedArray;
using kernel::bpf::MapShape;

constexpr std::array kDecisionMaps{
    "host",  "endpoints", "addresses", "nets",       "programs",       "vocabularies",    "entries",
    "cells", "chains",    "sources",   "dictionary", "host_endpoints", "host_interfaces", "host_addresses"};
constexpr std::array kTraces{"connections", "holders", "fragments", "at_drivers", "translations"};

struct ProgramName {
  Role role;
  kernel::bpf::Hook hook;
  const char* name;
};
constexpr std::array kPrograms{ProgramName{Role::kWorkload, kernel::bpf::Hook::kIngress, "from_workload"},
                               ProgramName{Role::kWorkload, kernel::bpf::Hook::kEgress, "to_workload"},
                               ProgramName{Role::kHost, kernel::bpf::Hook::kIngress, "from_network"}};

struct ObjectFile {
  std::span<const std::uint8_t> (*bytes)();
  const char* name;
};
constexpr ObjectFile kDatapath{datapath_object, "ocicat"}, kHost{host_object, "ocicat_host"},
    kDriver{driver_object, "ocicat_driver"};

std::filesystem::path map_folder(const std::filesystem::path& folder) {
  return folder / fmt::format("maps-v{}", static_cast<int>(bpf::LAYOUT_VERSION));
}

// Folders of maps, that of this layout first, then those of others, the latest first.
std::vector<std::filesystem::path> map_folders(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> others;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) {
    if (entry.path().filename().string().starts_with("maps-v") && entry.path() != map_folder(folder))
      others.push_back(entry.path());
  }
  std::ranges::sort(others, [](const auto& a, const auto& b) {
    return std::pair(a.string().size(), a) > std::pair(b.string().size(), b);
  });
  others.insert(others.begin(), map_folder(folder));
  return others;
}

Digest build() {
  std::string all;
  for (const auto object : {datapath_object(), host_object(), driver_object()})
    all.append(reinterpret_cast<const char*>(object.data()), object.size());
  return Digest::of(all);
}

// Programs by name, and where they are kept.
using NamedPrograms = std::vector<std::pair<const char*, UniqueFd*>>;
NamedPrograms named(Programs& programs) {
  NamedPrograms all;
  for (const auto& [role, hook, name] : kPrograms) all.emplace_back(name, &programs.at(role, hook));
  return all;
}
NamedPrograms named(HostPrograms& programs) {
  return {{"at_host", &programs.host}, {"at_driver", &programs.driver}};
}

Result<UniqueFd> copy_of(const UniqueFd& fd) {
  UniqueFd copy(::fcntl(fd.get(), F_DUPFD_CLOEXEC, 3));
  if (!copy) return fail_errno("keep a descriptor", errno);
  return copy;
}

// Nobody who can see packets can guess it.
bpf::secret new_secret() {
  bpf::secret secret{};
  CHECK(::getrandom(&secret, sizeof secret, 0) == sizeof secret);
  secret.word[0] |= 1;
  return secret;
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

// Whether all are pinned.
Result<bool> open_pinned(const std::filesystem::path& folder, auto& programs) {
  for (const auto& [name, fd] : named(programs)) {
    auto pinned = kernel::bpf::open_pin(folder / "programs" / name);
    if (!pinned && pinned.error().code == ErrorCode::kNotFound) return false;
    if (!pinned) return std::unexpected(pinned.error());
    *fd = std::move(*pinned);
  }
  return true;
}

// Those of another build by other names go: each would keep all maps that it uses.
Result<void> pin_programs(const std::filesystem::path& folder, const NamedPrograms& programs) {
  std::set<std::filesystem::path> others;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(folder, failed)) others.insert(entry.path());
  for (const auto& [name, fd] : programs) {
    TRY_VOID(kernel::bpf::pin(fd->get(), folder / name));
    others.erase(folder / name);
  }
  for (const auto& other : others) {
    if (!failed) std::filesystem::remove(other, failed);
  }
  if (failed) return fail(ErrorCode::kPermission, "remove from {}: {}", folder.string(), failed.message());
  return {};
}

}  // namespace

Result<void> Objects::open_maps(const Fds& fds) {
  const auto mapped = [&](const char* name, MappedArray& array) -> Result<void> {
    TRY(array, MappedArray::of(fds.at(name)));
    return {};
  };
  TRY_VOID(mapped("host", host_));
  TRY_VOID(mapped("timeouts", timeouts_));
  TRY_VOID(mapped("holders", holders_));
  TRY_VOID(mapped("endpoints", endpoints_));
  TRY_VOID(mapped("programs", programs_));
  TRY_VOID(mapped("vocabularies", vocabularies_));
  TRY(entries_, GrowingArray::of(fds.at("entries")));
  TRY(cells_, GrowingArray::of(fds.at("cells")));
  TRY_VOID(mapped("chains", chains_));
  TRY_VOID(mapped("host_endpoints", host_endpoints_));
  TRY_VOID(mapped("tunnels", tunnels_));
  const auto part = [&](std::size_t offset, std::size_t element, std::size_t size) {
    return GrowingArray::of(fds.at("nets"), {offset, element, size / element});
  };
  using bpf::nets;
  TRY(net_roots_, part(offsetof(nets, roots), sizeof(NetMemory::Roots), sizeof(nets::roots)));
  TRY(net_nodes_, part(offsetof(nets, nodes), sizeof(bpf::net_node), sizeof(nets::nodes)));
  TRY(net_classes_, part(offsetof(nets, classes), sizeof(std::uint32_t), sizeof(nets::classes)));
  TRY(net_all_, part(offsetof(nets, all), sizeof(NetMemory::All), sizeof(nets::all)));
  const auto elements = [&](const char* name, std::unique_ptr<kernel::bpf::ElementMap>& map) -> Result<void> {
    TRY(auto fd, copy_of(fds.at(name)));
    const bool in_place = std::string_view(name) == "host_interfaces";
    TRY(map, KernelMap::of(std::move(fd), in_place));
    return {};
  };
  TRY_VOID(elements("addresses", addresses_));
  TRY_VOID(elements("vteps", vteps_));
  TRY_VOID(elements("floating", floating_));
  TRY_VOID(elements("host_addresses", host_addresses_));
  TRY_VOID(elements("sources", sources_));
  TRY_VOID(elements("host_interfaces", host_interfaces_));
  TRY(auto connections, copy_of(fds.at("connections")));
  connections_ = std::make_unique<ConnectionTable>(
      std::move(connections),
      ConnectionTable::Beside{&host().secret, &timeouts(), &holders_.as<bpf::holders>().front()});
  return elements("dictionary", dictionary_);
}

Result<void> Objects::adopt_maps(const kernel::bpf::Object& object) {
  for (const auto& [name, shape] : object.maps()) {
    if (maps_.contains(name)) continue;
    TRY(auto fd, adoptable(map_folder(folder_) / name, shape));
    if (fd) maps_.emplace(name, std::move(*fd));
    all_there_ = all_there_ && fd.has_value();
  }
  return {};
}

Result<void> Objects::use_maps(kernel::bpf::Object& object) const {
  for (const auto& [name, unused] : object.maps()) {
    if (const auto there = maps_.find(name); there != maps_.end())
      TRY_VOID(object.use(name, there->second.get()));
  }
  return {};
}

// Those that are not there yet.
Result<void> Objects::make_maps(kernel::bpf::Object& object) {
  TRY_VOID(use_maps(object));
  TRY_VOID(object.load());
  for (const auto& [name, unused] : object.maps()) {
    TRY(auto fd, object.map(name));
    maps_.insert_or_assign(name, std::move(fd));
  }
  return {};
}

// The verifier is what takes longest of a start: each program is loaded by a thread of its own.
Result<void> Objects::load_programs() {
  struct Loading {
    UniqueFd* program;
    std::future<Result<UniqueFd>> loaded;
  };
  std::vector<Loading> all;
  const auto begin = [&](const ObjectFile& file, const char* name, UniqueFd& program) {
    all.emplace_back(&program, std::async(std::launch::async, [&file, name, this]() -> Result<UniqueFd> {
      TRY(auto object, kernel::bpf::Object::open(file.bytes(), file.name));
      object.leave_out_programs_but(name);
      TRY_VOID(use_maps(object));
      TRY_VOID(object.load());
      return object.program(name);
    }));
  };
  for (const auto& [name, program] : named(attachable_)) begin(kDatapath, name, *program);
  if (at_host_) {
    begin(kHost, "at_host", host_programs_.host);
    begin(kDriver, "at_driver", host_programs_.driver);
  }
  for (auto& [program, loaded] : all) {
    TRY(*program, loaded.get());
  }
  return {};
}

// Connections in a map that this build has not adopted.
Result<void> Objects::find_older() {
  for (const auto& folder : map_folders(folder_)) {
    const auto there = kernel::bpf::open_pin(folder / "connections");
    if (!there && there.error().code == ErrorCode::kNotFound) continue;
    if (!there) return std::unexpected(there.error());
    TRY(older_, OlderConnections::open(*there, maps_.at("connections")));
    return {};
  }
  return {};
}

Result<Objects> Objects::adopt_or_make(const std::filesystem::path& folder, bool at_host) {
  std::vector<kernel::bpf::Object> maps;  // of each file, all in the end
  for (const auto* file : {&kDatapath, &kHost, &kDriver}) {
    TRY(auto object, kernel::bpf::Object::open(file->bytes(), file->name));
    object.leave_out_programs();
    maps.push_back(std::move(object));
  }
  Objects objects;
  objects.folder_ = folder;
  objects.at_host_ = at_host;
  for (const auto& object : maps) TRY_VOID(objects.adopt_maps(object));
  // Connections name batches and slots. Where those begin anew, the numbers go on, so all are judged again;
  // where nobody knows the numbers, the map of connections is made anew as well, and what was in it counts as of
  // another layout.
  std::uint64_t batch = 0;
  auto secret = new_secret();
  const auto is_there = [&](const char* name) { return objects.maps_.contains(name); };
  if (!std::ranges::all_of(kDecisionMaps, is_there)) {
    if (is_there("host")) {
      TRY(const auto value, MappedArray::of(objects.maps_.at("host")));
      batch = value.as<bpf::host>().front().batch + 2;
      secret = value.as<bpf::host>().front().secret;
    } else {
      for (const auto* name : kTraces) objects.maps_.erase(name);
    }
    for (const auto* name : kDecisionMaps) objects.maps_.erase(name);
    objects.maps_.erase("at_drivers");  // an agent that did not live to pin its maps has had the same numbers
  }
  if (is_there("connections") != is_there("holders")) {  // an agent did not live to pin both
    objects.maps_.erase("connections");
    objects.maps_.erase("holders");
  }
  objects.tracks_anew_ = !is_there("connections");
  if (objects.all_there_) {
    TRY_VOID(objects.open_maps(objects.maps_));
    TRY(const bool at_workloads, open_pinned(folder, objects.attachable_));
    if (at_host) {
      TRY(at_host, open_pinned(folder, objects.host_programs_));
    }
    if (at_workloads && at_host == objects.at_host_ &&
        std::ranges::equal(objects.host().build, build().bytes)) {
      objects.kept_ = true;
      return objects;
    }
  }
  for (auto& object : maps) TRY_VOID(objects.make_maps(object));
  TRY_VOID(objects.load_programs());
  if (objects.tracks_anew_) TRY_VOID(objects.find_older());
  TRY_VOID(objects.open_maps(objects.maps_));
  if (batch != 0) objects.host().batch = batch;
  if (objects.host().secret.word[0] == 0) objects.host().secret = secret;
  return objects;
}

// Of an older datapath, maps that this one has none of.
Result<void> Objects::remove_leftovers() {
  std::vector<std::filesystem::path> leftovers;
  std::error_code failed;
  for (const auto& entry : std::filesystem::directory_iterator(map_folder(folder_), failed)) {
    if (!maps_.contains(entry.path().filename().string())) leftovers.push_back(entry.path());
  }
  for (const auto& leftover : leftovers) {
    if (!failed) std::filesystem::remove(leftover, failed);
    if (failed)
      return fail(ErrorCode::kPermission, "cannot remove {}: {}", leftover.string(), failed.message());
  }
  return {};
}

Result<std::size_t> Objects::keep() {
  if (kept_) return 0;
  TRY_VOID(kernel::bpf::make_pin_folder(map_folder(folder_)));
  TRY_VOID(kernel::bpf::make_pin_folder(folder_ / "programs"));
  for (const auto& [name, fd] : maps_) TRY_VOID(kernel::bpf::pin(fd.get(), map_folder(folder_) / name));
  auto programs = named(attachable_);
  if (at_host_) std::ranges::copy(named(host_programs_), std::back_inserter(programs));
  TRY_VOID(pin_programs(folder_ / "programs", programs));
  std::ranges::copy(build().bytes, host().build);
  TRY_VOID(remove_leftovers());
  for (const auto& others : map_folders(folder_)) {
    std::error_code failed;
    if (others != map_folder(folder_)) std::filesystem::remove_all(others, failed);
    if (failed)
      return fail(ErrorCode::kPermission, "cannot remove {}: {}", others.string(), failed.message());
  }
  kept_ = true;
  return maps_.size() + programs.size();
}

namespace {

// A pinned map of this layout; nothing: there is none.
Result<std::optional<UniqueFd>> open_pinned_map(const kernel::bpf::Object& object,
                                                const std::filesystem::path& folder,
                                                std::string_view wanted) {
  for (const auto& [name, shape] : object.maps()) {
    if (name == wanted) return adoptable(map_folder(folder) / name, shape);
  }
  CHECK(false);
}

}  // namespace

Result<std::unique_ptr<kernel::bpf::ElementMap>> open_dictionary(const std::filesystem::path& folder) {
  TRY(const auto object, kernel::bpf::Object::open(kDatapath.bytes(), kDatapath.name));
  TRY(auto fd, open_pinned_map(object, folder, "dictionary"));
  if (!fd) return nullptr;
  TRY(auto map, KernelMap::of(std::move(*fd)));
  return map;
}

Result<std::unique_ptr<kernel::bpf::ElementMap>> open_connections(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!std::filesystem::exists(map_folder(folder), failed)) return nullptr;
  TRY(const auto datapath, kernel::bpf::Object::open(kDatapath.bytes(), kDatapath.name));
  TRY(auto fd, open_pinned_map(datapath, folder, "connections"));
  if (!fd) return nullptr;
  return std::make_unique<ConnectionTable>(std::move(*fd), std::nullopt);
}

namespace {

// Not later: until then they let through what their maps say, and whoever removes them says something else by
// now.
void detach_all(const std::filesystem::path& links) {
  std::error_code ignored;  // what cannot be detached goes with its pin
  for (const auto& entry : std::filesystem::directory_iterator(links, ignored)) {
    const auto link = kernel::bpf::open_pin(entry.path());
    if (link) [[maybe_unused]]
      const auto done = kernel::bpf::detach(link->get());
  }
}

}  // namespace

Result<void> remove_objects(const std::filesystem::path& folder) {
  for (const auto* links : {"links", "hosts"}) detach_all(folder / links);
  std::error_code failed;
  std::filesystem::remove_all(folder, failed);
  if (failed) return fail(ErrorCode::kPermission, "cannot remove {}: {}", folder.string(), failed.message());
  return {};
}

bool is_kept(const std::filesystem::path& folder) {
  const auto fd = kernel::bpf::open_pin(map_folder(folder) / "host");
  if (!fd) return false;
  const auto host = MappedArray::of(*fd);
  return host && std::ranges::equal(host->as<bpf::host>().front().build, build().bytes);
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
