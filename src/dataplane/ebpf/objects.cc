#include "dataplane/ebpf/objects.h"

#include <fcntl.h>
#include <sys/random.h>

#include <algorithm>
#include <cstddef>
#include <future>
#include <iterator>
#include <string_view>

#include "base/digest.h"
#include "datapath.skel.h"
#include "driver.skel.h"
#include "host.skel.h"
#include "host_rules.skel.h"
#include "untracked.skel.h"

namespace ocicat::dataplane::ebpf {

using kernel::bpf::Skeleton;

struct Skeletons {
  Skeleton<datapath_bpf> datapath;
  Skeleton<host_bpf> host;
  Skeleton<host_rules_bpf> host_rules;
  Skeleton<driver_bpf> driver;
  Skeleton<untracked_bpf> untracked;

  static Result<Skeletons> open() {
    TRY(auto datapath, Skeleton<datapath_bpf>::open());
    TRY(auto host, Skeleton<host_bpf>::open());
    TRY(auto host_rules, Skeleton<host_rules_bpf>::open());
    TRY(auto driver, Skeleton<driver_bpf>::open());
    TRY(auto untracked, Skeleton<untracked_bpf>::open());
    return Skeletons{std::move(datapath), std::move(host), std::move(host_rules), std::move(driver),
                     std::move(untracked)};
  }
  std::array<kernel::bpf::Object*, 5> all() { return {&datapath, &host, &host_rules, &driver, &untracked}; }
};

namespace {

using kernel::bpf::GrowingArray;
using kernel::bpf::KernelMap;
using kernel::bpf::MappedArray;
using kernel::bpf::name_of;

// What decides of packets, together.
std::vector<const bpf_map*> decision_maps(const Skeletons& of) {
  const auto& in = of.datapath->maps;
  const auto& at_host = of.driver->maps;
  return {in.host,
          in.endpoints,
          in.addresses,
          in.nets,
          in.programs,
          in.vocabularies,
          in.entries,
          in.cells,
          in.chains,
          in.sources,
          in.dictionary,
          in.host_addresses,
          at_host.host_endpoints,
          at_host.host_interfaces,
          at_host.interface_endpoints};
}

// What is noted of packets.
std::vector<const bpf_map*> traces(const Skeletons& of) {
  const auto& in = of.datapath->maps;
  return {in.connections, in.holders, in.ledger, in.fragments, in.translations, of.driver->maps.at_drivers};
}

using DatapathPrograms = decltype(datapath_bpf::progs);
struct AttachedProgram {
  Role role;
  kernel::bpf::Hook hook;
  bpf_program* DatapathPrograms::* program;
};
constexpr std::array kPrograms{
    AttachedProgram{Role::kWorkload, kernel::bpf::Hook::kIngress, &DatapathPrograms::from_workload},
    AttachedProgram{Role::kWorkload, kernel::bpf::Hook::kEgress, &DatapathPrograms::to_workload},
    AttachedProgram{Role::kHost, kernel::bpf::Hook::kIngress, &DatapathPrograms::from_network},
    AttachedProgram{Role::kBare, kernel::bpf::Hook::kIngress, &DatapathPrograms::from_bare}};

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

template <class S>
std::string_view file_of() {
  std::size_t size = 0;
  const auto* bytes = S::elf_bytes(&size);
  return {static_cast<const char*>(bytes), size};
}

Digest build() {
  std::string all;
  for (const auto file : {file_of<datapath_bpf>(), file_of<host_bpf>(), file_of<host_rules_bpf>(),
                          file_of<driver_bpf>(), file_of<untracked_bpf>()})
    all += file;
  return Digest::of(all);
}

// Programs by name, and where they are kept.
using NamedPrograms = std::vector<std::pair<std::string, UniqueFd*>>;
NamedPrograms named(const Skeletons& of, Programs& programs) {
  NamedPrograms all;
  for (const auto& [role, hook, program] : kPrograms)
    all.emplace_back(name_of(of.datapath->progs.*program), &programs.at(role, hook));
  return all;
}
NamedPrograms named(const Skeletons& of, HostPrograms& programs, AskedBy asked_by) {
  if (asked_by == AskedBy::kNobody) return {};
  NamedPrograms all{{name_of(of.driver->progs.at_driver), &programs.driver},
                    {name_of(of.untracked->progs.untracked_in), &programs.untracked_in},
                    {name_of(of.untracked->progs.untracked_out), &programs.untracked_out}};
  if (asked_by == AskedBy::kKernel) {
    all.emplace_back(name_of(of.host->progs.at_host), &programs.host);
  } else {
    all.emplace_back(name_of(of.host_rules->progs.at_input), &programs.input);
    all.emplace_back(name_of(of.host_rules->progs.at_forward), &programs.forward);
    all.emplace_back(name_of(of.host_rules->progs.at_output), &programs.output);
  }
  return all;
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
Result<std::optional<UniqueFd>> adoptable(const std::filesystem::path& folder, const bpf_map* map) {
  auto fd = kernel::bpf::open_pin(map_folder(folder) / name_of(map));
  if (!fd && fd.error().code == ErrorCode::kNotFound) return std::nullopt;
  if (!fd) return std::unexpected(fd.error());
  TRY(const auto there, kernel::bpf::shape_of(fd->get()));
  if (!(there == kernel::bpf::shape_of(map))) return std::nullopt;
  return std::optional(std::move(*fd));
}

// Whether all are pinned.
Result<bool> open_pinned(const std::filesystem::path& folder, const NamedPrograms& programs) {
  for (const auto& [name, fd] : programs) {
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

Result<void> Objects::open_maps() {
  const auto& in = skeletons_->datapath->maps;
  const auto& at_host = skeletons_->driver->maps;
  const auto mapped = [&](const bpf_map* map, MappedArray& array) -> Result<void> {
    TRY(array, MappedArray::of(fd(map)));
    return {};
  };
  TRY_VOID(mapped(in.host, host_));
  TRY_VOID(mapped(in.timeouts, timeouts_));
  TRY_VOID(mapped(in.holders, holders_));
  TRY_VOID(mapped(in.endpoints, endpoints_));
  TRY_VOID(mapped(in.programs, programs_));
  TRY_VOID(mapped(in.vocabularies, vocabularies_));
  TRY(entries_, GrowingArray::of(fd(in.entries)));
  TRY(cells_, GrowingArray::of(fd(in.cells)));
  TRY_VOID(mapped(in.chains, chains_));
  TRY_VOID(mapped(at_host.host_endpoints, host_endpoints_));
  TRY_VOID(mapped(at_host.interface_endpoints, interface_endpoints_));
  TRY_VOID(mapped(in.tunnels, tunnels_));
  const auto part = [&](std::size_t offset, std::size_t element, std::size_t size) {
    return GrowingArray::of(fd(in.nets), {offset, element, size / element});
  };
  using bpf::nets;
  TRY(net_roots_, part(offsetof(nets, roots), sizeof(NetMemory::Roots), sizeof(nets::roots)));
  TRY(net_nodes_, part(offsetof(nets, nodes), sizeof(bpf::net_node), sizeof(nets::nodes)));
  TRY(net_classes_, part(offsetof(nets, classes), sizeof(std::uint32_t), sizeof(nets::classes)));
  TRY(net_all_, part(offsetof(nets, all), sizeof(NetMemory::All), sizeof(nets::all)));
  const auto elements = [&](const bpf_map* map,
                            std::unique_ptr<kernel::bpf::ElementMap>& opened) -> Result<void> {
    TRY(auto copy, copy_of(fd(map)));
    TRY(opened, KernelMap::of(std::move(copy)));
    return {};
  };
  TRY_VOID(elements(in.addresses, addresses_));
  TRY_VOID(elements(in.vteps, vteps_));
  TRY_VOID(elements(in.floating, floating_));
  TRY_VOID(elements(in.host_addresses, host_addresses_));
  TRY_VOID(elements(in.sources, sources_));
  TRY_VOID(elements(at_host.host_interfaces, host_interfaces_));
  TRY(auto connections, copy_of(fd(in.connections)));
  connections_ = std::make_unique<ConnectionTable>(
      std::move(connections),
      ConnectionTable::Beside{&host().secret, &timeouts(), &holders_.as<bpf::holders>().front()});
  return elements(in.dictionary, dictionary_);
}

Result<void> Objects::adopt_maps(const kernel::bpf::Object& object) {
  for (const auto* map : object.maps()) {
    if (is_there(map)) continue;
    TRY(auto adopted, adoptable(folder_, map));
    if (adopted) maps_.emplace(name_of(map), std::move(*adopted));
    all_there_ = all_there_ && adopted.has_value();
  }
  return {};
}

Result<void> Objects::use_maps(kernel::bpf::Object& object) const {
  for (auto* map : object.maps()) {
    if (is_there(map)) TRY_VOID(kernel::bpf::use(map, fd(map).get()));
  }
  return {};
}

// Those that are not there yet.
Result<void> Objects::make_maps(kernel::bpf::Object& object) {
  TRY_VOID(use_maps(object));
  TRY_VOID(object.load());
  for (const auto* map : object.maps()) {
    TRY(auto made, kernel::bpf::fd_of(map));
    maps_.insert_or_assign(name_of(map), std::move(made));
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
  const auto begin = [&]<class S, class P>(const Skeleton<S>&, bpf_program* P::* program, UniqueFd& kept) {
    all.emplace_back(&kept, std::async(std::launch::async, [program, this]() -> Result<UniqueFd> {
      TRY(auto own, Skeleton<S>::open());
      own.leave_out_programs_but(own->progs.*program);
      TRY_VOID(use_maps(own));
      TRY_VOID(own.load());
      return kernel::bpf::fd_of(own->progs.*program);
    }));
  };
  const auto& of = *skeletons_;
  for (const auto& [role, hook, program] : kPrograms) begin(of.datapath, program, attachable_.at(role, hook));
  auto& at_host = host_programs_;
  if (asked_by_ == AskedBy::kKernel) begin(of.host, &decltype(host_bpf::progs)::at_host, at_host.host);
  if (asked_by_ == AskedBy::kRules) {
    using Asked = decltype(host_rules_bpf::progs);
    begin(of.host_rules, &Asked::at_input, at_host.input);
    begin(of.host_rules, &Asked::at_forward, at_host.forward);
    begin(of.host_rules, &Asked::at_output, at_host.output);
  }
  if (asked_by_ != AskedBy::kNobody) {
    begin(of.driver, &decltype(driver_bpf::progs)::at_driver, at_host.driver);
    begin(of.untracked, &decltype(untracked_bpf::progs)::untracked_in, at_host.untracked_in);
    begin(of.untracked, &decltype(untracked_bpf::progs)::untracked_out, at_host.untracked_out);
  }
  for (auto& [program, loaded] : all) {
    TRY(*program, loaded.get());
  }
  return {};
}

// Connections in a map that this build has not adopted.
Result<void> Objects::find_older() {
  const auto* connections = skeletons_->datapath->maps.connections;
  for (const auto& folder : map_folders(folder_)) {
    const auto there = kernel::bpf::open_pin(folder / name_of(connections));
    if (!there && there.error().code == ErrorCode::kNotFound) continue;
    if (!there) return std::unexpected(there.error());
    TRY(older_, OlderConnections::open(*there, fd(connections)));
    return {};
  }
  return {};
}

Result<Objects> Objects::adopt_or_make(const std::filesystem::path& folder, AskedBy asked_by) {
  TRY(auto opened, Skeletons::open());
  Objects objects;
  objects.skeletons_ = std::make_shared<Skeletons>(std::move(opened));
  auto& of = *objects.skeletons_;
  objects.folder_ = folder;
  objects.asked_by_ = asked_by;
  for (auto* object : of.all()) {
    object->leave_out_programs();
    TRY_VOID(objects.adopt_maps(*object));
  }
  // Connections name batches and slots. Where those begin anew, the numbers go on, so all are judged again;
  // where nobody knows the numbers, the map of connections is made anew as well, and what was in it counts as of
  // another layout.
  std::uint64_t batch = 0;
  auto secret = new_secret();
  const auto& maps = of.datapath->maps;
  if (!std::ranges::all_of(decision_maps(of), [&](const auto* map) { return objects.is_there(map); })) {
    if (objects.is_there(maps.host)) {
      TRY(const auto value, MappedArray::of(objects.fd(maps.host)));
      batch = value.as<bpf::host>().front().batch + 2;
      secret = value.as<bpf::host>().front().secret;
    } else {
      for (const auto* map : traces(of)) objects.forget(map);
    }
    for (const auto* map : decision_maps(of)) objects.forget(map);
    // An agent that did not live to pin its maps has had the same numbers.
    objects.forget(of.driver->maps.at_drivers);
  }
  if (objects.is_there(maps.connections) !=
      objects.is_there(maps.holders)) {  // an agent did not live to pin both
    objects.forget(maps.connections);
    objects.forget(maps.holders);
  }
  if (!objects.is_there(maps.connections)) objects.forget(maps.ledger);
  objects.tracks_anew_ = !objects.is_there(maps.connections);
  if (objects.all_there_) {
    TRY_VOID(objects.open_maps());
    TRY(const bool at_workloads, open_pinned(folder, named(of, objects.attachable_)));
    TRY(const bool at_host, open_pinned(folder, named(of, objects.host_programs_, asked_by)));
    if (at_workloads && at_host && std::ranges::equal(objects.host().build, build().bytes)) {
      objects.skeletons_.reset();
      return objects;
    }
  }
  for (auto* object : of.all()) TRY_VOID(objects.make_maps(*object));
  TRY_VOID(objects.load_programs());
  if (objects.tracks_anew_) TRY_VOID(objects.find_older());
  TRY_VOID(objects.open_maps());
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
  if (skeletons_ == nullptr) return 0;
  TRY_VOID(kernel::bpf::make_pin_folder(map_folder(folder_)));
  TRY_VOID(kernel::bpf::make_pin_folder(folder_ / "programs"));
  for (const auto& [name, fd] : maps_) TRY_VOID(kernel::bpf::pin(fd.get(), map_folder(folder_) / name));
  auto programs = named(*skeletons_, attachable_);
  std::ranges::copy(named(*skeletons_, host_programs_, asked_by_), std::back_inserter(programs));
  TRY_VOID(pin_programs(folder_ / "programs", programs));
  std::ranges::copy(build().bytes, host().build);
  TRY_VOID(remove_leftovers());
  for (const auto& others : map_folders(folder_)) {
    std::error_code failed;
    if (others != map_folder(folder_)) std::filesystem::remove_all(others, failed);
    if (failed)
      return fail(ErrorCode::kPermission, "cannot remove {}: {}", others.string(), failed.message());
  }
  skeletons_.reset();
  return maps_.size() + programs.size();
}

Result<std::unique_ptr<kernel::bpf::ElementMap>> open_dictionary(const std::filesystem::path& folder) {
  TRY(const auto datapath, Skeleton<datapath_bpf>::open());
  TRY(auto fd, adoptable(folder, datapath->maps.dictionary));
  if (!fd) return nullptr;
  TRY(auto map, KernelMap::of(std::move(*fd)));
  return map;
}

Result<std::unique_ptr<kernel::bpf::ElementMap>> open_connections(const std::filesystem::path& folder) {
  std::error_code failed;
  if (!std::filesystem::exists(map_folder(folder), failed)) return nullptr;
  TRY(const auto datapath, Skeleton<datapath_bpf>::open());
  TRY(auto fd, adoptable(folder, datapath->maps.connections));
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

Result<std::vector<kernel::bpf::Object>> open_objects(const kernel::bpf::Abilities& can) {
  TRY(auto opened, Skeletons::open());
  std::vector<kernel::bpf::Object> objects{opened.datapath};
  if (can.netfilter) objects.push_back(opened.host);
  if (can.asking) objects.push_back(opened.host_rules);
  if (can.netfilter || can.asking) objects.insert(objects.end(), {opened.driver, opened.untracked});
  return objects;
}

Result<std::vector<std::uint64_t>> read_counters(const std::filesystem::path& folder) {
  TRY(const auto fd, kernel::bpf::open_pin(map_folder(folder) / "counters"));
  return kernel::bpf::sums_of(fd.get());
}

Result<kernel::bpf::Ring> open_events(const std::filesystem::path& folder) {
  TRY(const auto fd, kernel::bpf::open_pin(events_pin(folder)));
  return kernel::bpf::Ring::of(fd);
}

std::filesystem::path maps_of(const std::filesystem::path& folder) {
  return map_folder(folder);
}

std::filesystem::path events_pin(const std::filesystem::path& folder) {
  return map_folder(folder) / "events";
}

}  // namespace ocicat::dataplane::ebpf
