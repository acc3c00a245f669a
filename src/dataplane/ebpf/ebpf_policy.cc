#include "dataplane/ebpf/ebpf_policy.h"

#include <algorithm>
#include <atomic>
#include <bit>

#include "dataplane/ebpf/handover.h"
#include "maps/dictionary.h"

namespace ocicat::dataplane::ebpf {
namespace {

using kernel::bpf::bytes_of;

std::uint32_t bits_of(const HostSettings& settings) {
  std::uint32_t bits = static_cast<std::uint32_t>(std::countr_zero(settings.accept_mark))
                       << bpf::HOST_MARK_SHIFT;
  if (settings.accept_mark == 0) bits = 0;
  if (settings.overlays.any() && settings.accept_mark != 0) bits |= bpf::HOST_MARKS_TUNNELS;
  if (settings.endpoint_to_host != HostSettings::ToHost::kDrop) bits |= bpf::HOST_ACCEPTS_WORKLOADS;
  if (settings.drop_invalid) bits |= bpf::HOST_DROPS_INVALID;
  if (settings.reject && settings.accept_mark != 0) bits |= bpf::HOST_REJECTS;
  if (settings.open_connections == OpenConnections::kStay) bits |= bpf::HOST_KEEPS_CONNECTIONS;
  if (settings.way_back != HostSettings::WayBack::kUnchecked) bits |= bpf::HOST_CHECKS_WAY_BACK;
  if (settings.way_back == HostSettings::WayBack::kStrict) bits |= bpf::HOST_CHECKS_STRICTLY;
  return bits;
}

bpf::meaning meaning_of(const policy::DictionaryKey& key) {
  bpf::meaning meaning{};
  std::ranges::copy(key.meaning.bytes, meaning.digest);
  meaning.space = static_cast<std::uint32_t>(key.space);
  return meaning;
}

Result<policy::Dictionary> contents_of(kernel::bpf::ElementMap& map) {
  policy::Dictionary dictionary;
  TRY_VOID(map.for_each([&](auto key, auto value) {
    bpf::meaning meaning{};
    std::uint32_t id = 0;
    std::memcpy(&meaning, key.data(), sizeof meaning);
    std::memcpy(&id, value.data(), sizeof id);
    policy::DictionaryKey entry{static_cast<policy::IdSpace>(meaning.space), {}};
    std::ranges::copy(meaning.digest, entry.meaning.bytes.begin());
    dictionary.emplace(entry, id);
  }));
  return dictionary;
}

Result<std::uint64_t> write_dictionary(kernel::bpf::ElementMap& map,
                                       const Changes<policy::DictionaryKey, std::uint32_t>& changes) {
  for (const auto& [key, id] : changes.entries()) {
    const auto meaning = meaning_of(key);
    TRY_VOID(id ? map.put(bytes_of(meaning), bytes_of(*id)) : map.remove(bytes_of(meaning)));
  }
  return changes.size();
}

Result<AskedProgram> asked(const UniqueFd& program) {
  TRY(const auto id, kernel::bpf::id_of_program(program.get()));
  return AskedProgram{program.get(), id};
}

}  // namespace

EbpfPolicy::Images::Images(Objects made)
    : objects(std::move(made)),
      tables(objects.tables()),
      addresses(objects.nets()),
      endpoints(objects.endpoints(), objects.addresses(), objects.sources(), objects.holders()),
      hosts(objects.host_endpoints(), objects.host_interfaces(), objects.interface_endpoints()),
      tunnels(objects.tunnels(), objects.vteps()),
      floating(objects.floating()),
      own(objects.host_addresses()) {}

bool EbpfPolicy::covered_by_prefix(const std::string& name) const {
  return std::ranges::any_of(wanted_.settings.workload_prefixes, [&](const std::string& prefix) {
    return !prefix.empty() && name.starts_with(prefix);
  });
}

bool EbpfPolicy::is_workload(const std::string& name) const {
  return covered_by_prefix(name) || std::ranges::any_of(wanted_.endpoints, [&](const auto& entry) {
           return entry.second.interface_name == name;
         });
}

void EbpfPolicy::reroute() {
  if (images_) std::atomic_ref(images_->objects.host().rerouted).store(ticks_now());
}

Result<void> EbpfPolicy::take_tunnels(Family family, const TunnelChanges& changes) {
  auto& tunnels = tunnels_[family];
  tunnels.apply(changes);
  if (!images_) return {};
  if (changes.interface) {
    images_->tunnels.want(family, {interface_of(tunnels), tunnels.ends});
  } else {
    images_->tunnels.want(interface_of(tunnels), changes.ends);
  }
  return write_tunnels();
}

// Where somebody has set up traffic control at their interface, packets go by that.
TunnelInterface EbpfPolicy::interface_of(const OpenTunnels& tunnels) const {
  return controlled_.contains(tunnels.interface.link) ? TunnelInterface() : tunnels.interface;
}

void EbpfPolicy::want_tunnels() {
  for (const auto& [family, tunnels] : tunnels_)
    images_->tunnels.want(family, {interface_of(tunnels), tunnels.ends});
}

// What an agent before this one has written stands until it is known what there is of both families.
Result<void> EbpfPolicy::write_tunnels() {
  if (tunnels_.size() < 2) return {};
  auto& image = images_->tunnels;
  const auto before = image.writes();
  const auto done = image.update();
  writes_ += image.writes() - before;
  if (image.writes() != before) reroute();
  return done;
}

bool EbpfPolicy::serves(const std::string& name) const {
  const auto link = links_.find(name);
  return link != links_.end() && attachments_.is_workload(link->second.index);
}

void EbpfPolicy::learn_links(const Links& links) {
  for (const auto& [name, link] : links) {
    const auto before = links_.find(name);
    // Until somebody has looked.
    if (before == links_.end() || before->second.index != link.index) controlled_.insert(link.index);
  }
  links_ = links;
  links_known_ = false;
}

void EbpfPolicy::want(const HostChanges& changes) {
  new_words_ = changes.tables.dictionary;
  changes.apply_to(wanted_);
  if (!images_) return;
  images_->tables.want(changes.tables);
  images_->addresses.want(changes.tables.classes);
  images_->endpoints.want(changes.endpoints);
  images_->hosts.want(changes.host_endpoints);
  images_->floating.want(changes.floating);
  want_workloads();
}

// Interfaces that are workloads', for host endpoints to know them.
void EbpfPolicy::want_workloads() {
  std::set<std::string> names;
  for (const auto& [key, endpoint] : wanted_.endpoints) names.insert(endpoint.interface_name);
  for (const auto& [name, link] : links_) {
    if (covered_by_prefix(name)) names.insert(name);
  }
  images_->hosts.want_workloads(std::move(names));
  images_->hosts.want_at(interfaces_);
}

void EbpfPolicy::distrust() {
  maps_known_ = links_known_ = false;
  guard_.distrust();
  host_hooks_.distrust();
  images_.reset();  // maps and programs may be others by now: look at the pins again
}

Result<Objects> EbpfPolicy::objects() {
  if (const auto loaded = std::exchange(loaded_, nullptr)) return std::move(*loaded);
  return Objects::adopt_or_make(folder_, asked_by(usable_));
}

Result<void> EbpfPolicy::open() {
  if (images_) return {};
  TRY(usable_, kernel::bpf::abilities(usable_));
  TRY(auto objects, this->objects());
  attached_by_.reset();
  taking_over_ = false;
  if (objects.tracks_anew()) {
    TRY(taking_over_, guard_.stands_for_policy());
  }
  if (taking_over_) objects.forget_older();  // nftables knows better
  taken_over_ = !objects.tracks_anew();
  images_ = std::make_unique<Images>(std::move(objects));
  HostChanges all;
  all.tables.outcomes = decltype(all.tables.outcomes)::between({}, wanted_.tables.outcomes);
  all.tables.tables = decltype(all.tables.tables)::between({}, wanted_.tables.tables);
  all.tables.programs = decltype(all.tables.programs)::between({}, wanted_.tables.programs);
  all.tables.chains = decltype(all.tables.chains)::between({}, wanted_.tables.chains);
  all.tables.chain_programs = decltype(all.tables.chain_programs)::between({}, wanted_.tables.chain_programs);
  all.tables.tables_by_projection =
      decltype(all.tables.tables_by_projection)::between({}, wanted_.tables.tables_by_projection);
  all.tables.projections = decltype(all.tables.projections)::between({}, wanted_.tables.projections);
  images_->tables.want(all.tables);
  images_->addresses.want_all(wanted_.tables.classes);
  images_->endpoints.want(Changes<ResourceKey, EndpointState>::between({}, wanted_.endpoints));
  images_->hosts.want(Changes<ResourceKey, HostEndpointState>::between({}, wanted_.host_endpoints));
  images_->floating.want(Changes<IpAddress, IpAddress>::between({}, wanted_.floating));
  want_workloads();
  return {};
}

bool EbpfPolicy::may_translate() const {
  if (!wants_translation() || !usable_.conntrack || !tracking_relaxed_) return false;
  const auto& host = images_->objects.host();
  return translated_.value_or((host.settings[host.batch & 1] & bpf::HOST_TRANSLATES) != 0);
}

// What went out as it was, and may have to be translated from now on, is left to the stack once more.
Result<void> EbpfPolicy::take_translation(bool changed) {
  translated_ = true;
  if (!images_ || !maps_known_) return {};
  if (changed && wants_translation()) TRY_VOID(images_->objects.connections().forget_ways());
  Step step(images_->objects.host());
  auto done = images_->floating.settle(step);
  write_settings(step);
  if (const auto shown = step.finish(); done) done = shown;
  writes_ += step.writes();
  maps_known_ = done.has_value();
  return done;
}

bool EbpfPolicy::write_settings(Step& step) {
  const auto timeouts = timeouts_of(wanted_.settings.timeouts);
  for (std::size_t i = 0; i < std::size(timeouts.of); ++i) {
    if (auto& there = images_->objects.timeouts().of[i]; there != timeouts.of[i])
      step.write(there, timeouts.of[i]);
  }
  std::uint32_t bits = bits_of(wanted_.settings);
  if (taking_over_) bits |= bpf::HOST_TAKES_OVER;
  if (may_translate()) bits |= bpf::HOST_TRANSLATES;
  if (!images_->floating.empty()) bits |= bpf::HOST_FLOATING;
  return step.set(images_->objects.host().settings, bits);
}

Result<void> EbpfPolicy::write_changes() {
  auto& [objects, tables, addresses, endpoints, hosts, unused, floating, own] = *images_;
  Step step(objects.host());
  TRY(const bool floats, floating.update(step));
  const bool settings_changed = write_settings(step);
  TRY_VOID(tables.update(step));
  TRY_VOID(addresses.update(step));
  auto concerned =
      tables.concerned(addresses.moves(), [&](policy::ClassId id) { return addresses.is_kept(id); });
  concerned.all |= settings_changed;
  concerned.stay = connections_stay();
  concerned.anew = floats;
  TRY_VOID(endpoints.update(concerned, step));
  TRY_VOID(hosts.update(concerned, step));
  TRY(const auto words, write_dictionary(objects.dictionary(), new_words_));
  const auto shown = step.finish();
  writes_ += step.writes() + words;
  forget_changes();
  return shown;
}

void EbpfPolicy::forget_changes() {
  new_words_.clear();
  images_->tables.want({});
  images_->addresses.want({});
}

Result<void> EbpfPolicy::apply(const HostChanges& changes) {
  if (changes.settings && changes.settings->nat != wanted_.settings.nat) translated_ = false;
  want(changes);
  if (!maps_known_) return {};
  maps_known_ = false;
  if (changes.settings || !changes.endpoints.empty() || !changes.host_endpoints.empty()) place_endpoints();
  if (changes.settings || !changes.host_endpoints.empty()) TRY_VOID(relax_tracking());
  TRY_VOID(write_changes());
  TRY_VOID(sync_host_hooks());
  maps_known_ = true;
  return sync_places(changes);
}

// A workload may be at an interface that was nobody's until now.
Result<void> EbpfPolicy::sync_places(const HostChanges& changes) {
  const bool others_alone = !changes.settings && changes.endpoints.empty();
  if (!links_known_ || (others_alone && changes.peers.empty() && changes.host_endpoints.empty())) return {};
  links_known_ = false;
  if (others_alone && changes.host_endpoints.empty()) {
    TRY_VOID(guard_.sync_hosts(changes.peers));
  } else if (others_alone) {
    TRY_VOID(sync_guard());
  } else {
    TRY_VOID(sync_attachments());
    TRY_VOID(sync_guard());
  }
  links_known_ = true;
  return {};
}

Result<void> EbpfPolicy::compare_dictionary() {
  auto& map = images_->objects.dictionary();
  TRY(const auto there, contents_of(map));
  using Words = Changes<policy::DictionaryKey, std::uint32_t>;
  TRY(const auto words, write_dictionary(map, Words::between(there, wanted_.tables.dictionary)));
  writes_ += words;
  return {};
}

Result<void> EbpfPolicy::compare_all() {
  auto& [objects, tables, addresses, endpoints, hosts, unused, floating, own] = *images_;
  Step step(objects.host());
  TRY(const bool floats, floating.resync(step));
  write_settings(step);
  TRY_VOID(tables.resync(step));
  TRY_VOID(addresses.resync(step));
  // Whatever differed: any verdict may have been another.
  const Concerned concerned{.all = step.shows_something(),
                            .programs = {},
                            .chains = {},
                            .stay = connections_stay(),
                            .anew = floats};
  TRY_VOID(endpoints.resync(concerned, step));
  TRY_VOID(hosts.resync(concerned, step));
  const auto shown = step.finish();
  writes_ += step.writes();
  forget_changes();
  TRY_VOID(shown);
  return compare_dictionary();
}

std::map<int, Role> EbpfPolicy::roles() const {
  std::map<int, Role> roles;
  for (const auto& [name, link] : links_) {
    if (is_workload(name)) {
      roles.emplace(link.index, Role::kWorkload);
    } else if (const auto role = role_at_host(link)) {
      roles.emplace(link.index, *role);
    }
  }
  return roles;
}

std::set<IpAddress> EbpfPolicy::own_addresses() const {
  std::set<IpAddress> own;
  for (const auto& [name, link] : links_) own.insert(link.addresses.begin(), link.addresses.end());
  return own;
}

void EbpfPolicy::place_endpoints() {
  std::set<int> open;
  std::set<std::string> limited;  // queues stand behind the stack
  for (const auto& [key, endpoint] : wanted_.endpoints) {
    if (endpoint.limits.any()) limited.insert(endpoint.interface_name);
  }
  const bool redirect = wanted_.settings.redirect && !images_->hosts.asks_forwarded();
  for (const auto& [name, link] : links_) {
    if (redirect && link.peer_elsewhere && !controlled_.contains(link.index) && !limited.contains(name))
      open.insert(link.index);
  }
  images_->endpoints.want_at(links_, open);
}

Result<void> EbpfPolicy::relax_tracking() {
  if (!wanted_.settings.redirect) return {};
  const auto changed = routes_.set("net/netfilter/nf_conntrack_tcp_be_liberal", "1");
  if (changed && *changed) ++writes_;
  tracking_relaxed_ = changed.has_value();
  if (changed || changed.error().code == ErrorCode::kNotFound) return {};  // or nobody tracks here
  return std::unexpected(changed.error());
}

std::vector<std::string> EbpfPolicy::notes() const {
  std::vector<std::string> notes;
  if (images_ && wants_translation() && !(usable_.conntrack && tracking_relaxed_)) {
    notes.emplace_back(
        "what leaves by natOutgoing takes the kernel's stack: its connection tracking answers no programs "
        "(needs Linux 5.18 or newer, with BTF of nf_conntrack)");
  }
  const auto name = [&](int index) {
    const auto link = std::ranges::find(links_, index, [](const auto& entry) { return entry.second.index; });
    return link == links_.end() ? std::to_string(index) : link->first;
  };
  if (!own_note_.empty()) notes.push_back(own_note_);
  if (images_ && wanted_.settings.attach_type == HostSettings::AttachType::kTcx && !usable_.tcx) {
    notes.emplace_back(
        "bpfAttachType: TCX asks for what the kernel has not (needs Linux 6.6): programs are at interfaces "
        "by TC");
  }
  for (const auto& [interface, why] : attachments_.refused()) {
    const auto own_name = name(interface);
    notes.push_back(fmt::format("{} takes no program, so {}: {}", own_name,
                                is_workload(own_name) ? "nothing passes there"
                                                      : "nobody asks for the way back of what comes in there",
                                why));
  }
  if (images_ && images_->hosts.has_untracked() && !usable_.asking) {
    notes.emplace_back(
        "the kernel tracks what doNotTrack allows: its rules ask no programs (modules nft_compat and "
        "xt_bpf)");
  }
  for (const auto& [interface, why] : host_hooks_.refused()) {
    notes.push_back(
        fmt::format("{} takes no XDP program, so what doNotTrack denies there ends behind the driver: {}",
                    name(interface), why));
  }
  return notes;
}

EbpfPolicy::By EbpfPolicy::wanted_by() const {
  const bool filters = !usable_.tcx || wanted_.settings.attach_type == HostSettings::AttachType::kTc;
  return filters ? By::kFilters : By::kLinks;
}

// Once, what may be left of a time when the other kind of places was used goes.
Result<void> EbpfPolicy::sync_attachments() {
  std::set<int> interfaces;
  for (const auto& [name, link] : links_) interfaces.insert(link.index);
  const auto by = wanted_by();
  const bool alone = attached_by_ == by;
  attached_by_.reset();
  if (!filters_at_ && !(by == By::kLinks && alone)) {
    TRY(filters_at_, FilterPlaces::open());
  }
  ProgramPlaces* places = &links_at_;
  ProgramPlaces* others = filters_at_.get();
  if (by == By::kFilters) std::swap(places, others);
  TRY_VOID(attachments_.sync(*places, alone ? nullptr : others, images_->objects.attachable(), interfaces,
                             roles()));
  attached_by_ = by;
  return {};
}

Result<void> EbpfPolicy::sync_guard() {
  GuardState guard{.settings = wanted_.settings, .names = {}, .attached = {}, .hosts = {}};
  for (const auto& [key, endpoint] : wanted_.endpoints) {
    if (!covered_by_prefix(endpoint.interface_name)) guard.names.insert(endpoint.interface_name);
  }
  for (const auto interface : attachments_.workloads()) guard.attached.insert(interface);
  for (const auto& [address, peer] : wanted_.peers) guard.hosts.insert(address);
  TRY(guard.at_hooks, programs_at_hooks());
  if (usable_.asking && images_->hosts.has_untracked()) {
    const auto& programs = images_->objects.host_programs();
    TRY(const auto in, asked(programs.untracked_in));
    TRY(const auto out, asked(programs.untracked_out));
    guard.untracked = {in, out};
  }
  return guard_.sync(guard);
}

Result<std::optional<ProgramsAtHooks>> EbpfPolicy::programs_at_hooks() const {
  if (asked_by(usable_) != AskedBy::kRules || !images_->hosts.has_endpoints()) return std::nullopt;
  const auto& programs = images_->objects.host_programs();
  TRY(const auto input, asked(programs.input));
  TRY(const auto forward, asked(programs.forward));
  TRY(const auto output, asked(programs.output));
  return ProgramsAtHooks{input, forward, output};
}

Result<void> EbpfPolicy::assign(const HostInterfaces& interfaces) {
  interfaces_ = interfaces;
  return {};
}

// Where nobody is asked, packets do not even come by. Of what is older than the maps, programs see every packet before it is
// taken over for the last time, so rules ask them before the guard stands.
Result<void> EbpfPolicy::sync_host_hooks() {
  const bool has_endpoints = images_->hosts.has_endpoints();
  const auto by = asked_by(usable_);
  if (has_endpoints && by == AskedBy::kNobody) {
    return fail(
        ErrorCode::kUnsupported,
        "this host has host endpoints, and the kernel has no place for their programs: it takes none at "
        "netfilter hooks (needs Linux 6.6), and its rules ask none (modules nft_compat and xt_bpf): run the "
        "agent with --dataplane nftables, or auto");
  }
  std::set<int> drivers;
  for (const auto& [name, link] : links_) {
    if (wanted_.settings.at_driver && !is_workload(name) && images_->hosts.has_untracked(name))
      drivers.insert(link.index);
  }
  TRY_VOID(
      host_hooks_.sync(images_->objects.host_programs(), has_endpoints && by == AskedBy::kKernel, drivers));
  if (taken_over_) return {};
  TRY(const auto programs, programs_at_hooks());
  return programs ? guard_.ask(*programs) : Result<void>();
}

Result<void> EbpfPolicy::take_connections() {
  const auto slots = images_->endpoints.slots();
  const auto own = own_addresses();
  const auto slot = [&](const IpAddress& address) {
    const auto found = slots.find(address);
    return found == slots.end() ? 0U : found->second;
  };
  const LocalEnds ends{.slot = slot,
                       .is_host = [&](const IpAddress& address) { return own.contains(address); },
                       .own = [&](const IpAddress& address) -> std::optional<IpAddress> {
                         const auto found = wanted_.floating.find(address);
                         return found == wanted_.floating.end() ? std::nullopt : std::optional(found->second);
                       }};
  const auto batch = images_->objects.host().batch;
  const TakeOver how{.now = ticks_now(),
                     .judged = connections_stay() ? static_cast<std::uint32_t>(batch) : long_before(batch),
                     .revoked_mark = wanted_.settings.revoked_mark,
                     .at_host = images_->hosts.has_endpoints(),
                     .timeouts = timeouts_of(wanted_.settings.timeouts)};
  auto& objects = images_->objects;
  const auto* older = objects.older_connections();
  const auto taken = older != nullptr
                         ? ebpf::take_connections(*older, objects.connections(), ends, how)
                         : ebpf::take_connections(connections_, objects.connections(), ends, how);
  objects.connections().put_all_done();
  if (!taken) return std::unexpected(taken.error());
  writes_ += *taken;
  return {};
}

Result<void> EbpfPolicy::finish_taking_over() {
  TRY_VOID(take_connections());
  taking_over_ = false;
  Step step(images_->objects.host());
  write_settings(step);
  TRY_VOID(step.finish());
  writes_ += step.writes();
  taken_over_ = true;
  images_->objects.forget_older();
  return {};
}

Result<bool> EbpfPolicy::resync() {
  const auto before = writes();
  TRY_VOID(open());
  if (!links_known_) {
    TRY(controlled_, routes_.controlled());
    want_workloads();
  }
  place_endpoints();
  const auto own = images_->own.sync(own_addresses());
  writes_ += own.value_or(0);
  own_note_ =
      own ? "" : "workloads may be told wrongly that no route leads to this host: " + own.error().message;
  TRY_VOID(relax_tracking());
  if (!maps_known_) {
    TRY_VOID(compare_all());
    maps_known_ = true;
  } else {
    Step step(images_->objects.host());
    const Concerned nobody{.all = false, .programs = {}, .chains = {}, .stay = connections_stay()};
    TRY_VOID(images_->endpoints.update(nobody, step));
    TRY_VOID(images_->hosts.update(nobody, step));
    const auto shown = step.finish();
    writes_ += step.writes();
    maps_known_ = shown.has_value();
    TRY_VOID(shown);
  }
  if (!taken_over_) TRY_VOID(take_connections());
  if (const auto hooks = sync_host_hooks(); !hooks) {
    maps_known_ = false;  // or the next look would find everything in step
    return std::unexpected(hooks.error());
  }
  want_tunnels();
  TRY_VOID(write_tunnels());
  TRY_VOID(sync_attachments());
  if (!taken_over_) TRY_VOID(finish_taking_over());
  TRY(const auto pins, images_->objects.keep());
  writes_ += pins;
  TRY_VOID(sync_guard());
  links_known_ = true;
  return writes() != before;
}

Result<policy::Dictionary> read_dictionary(const std::filesystem::path& folder) {
  TRY(const auto map, open_dictionary(folder));
  if (!map) return policy::Dictionary{};
  return contents_of(*map);
}

}  // namespace ocicat::dataplane::ebpf
