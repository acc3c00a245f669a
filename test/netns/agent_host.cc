#include "netns/agent_host.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "dataplane/ebpf/objects.h"
#include "maps/connections.h"
#include "maps/host.h"
#include "maps/ledger.h"
#include "support/own_name.h"

namespace ocicat::test {
namespace {

using namespace policy;

constexpr std::chrono::seconds kGiveUp{180};  // emulated machines take their time

}  // namespace

kernel::bpf::Abilities usable_abilities() {
  return {.types = true,
          .tcx = std::getenv("OCICAT_WITHOUT_TCX") == nullptr,
          .netfilter = std::getenv("OCICAT_WITHOUT_NETFILTER") == nullptr,
          .conntrack = true,
          .asking = true};
}

PinFolder::PinFolder() {
  path_ = "/sys/fs/bpf/ocicat-test/" + own_name();
}

PinFolder::~PinFolder() {
  CHECK(dataplane::ebpf::remove_objects(path_));
}

dataplane::Options PinFolder::options(dataplane::Datapath datapath) const {
  dataplane::Options options;
  options.datapath = datapath;
  options.pin_folder = path_;
  options.usable = usable_abilities();
  return options;
}

std::optional<kernel::bpf::MappedArray> PinFolder::open_array(const char* name) const {
  auto fd = open_map(name);
  if (!fd) return std::nullopt;  // not of this kind
  auto array = kernel::bpf::MappedArray::of(*fd);
  CHECK(array);
  return std::move(*array);
}

std::optional<UniqueFd> PinFolder::open_map(const char* name) const {
  auto fd =
      kernel::bpf::open_pin(path_ / fmt::format("maps-v{}", static_cast<int>(bpf::LAYOUT_VERSION)) / name);
  if (!fd && fd.error().code == ErrorCode::kNotFound) return std::nullopt;
  CHECK(fd);
  return std::move(*fd);
}

std::size_t PinFolder::count_elements(const char* map) const {
  auto fd = open_map(map);
  CHECK(fd);
  const auto elements = kernel::bpf::KernelMap::of(*std::move(fd));
  CHECK(elements);
  std::size_t count = 0;
  CHECK((*elements)->for_each([&](auto, auto) { ++count; }));
  return count;
}

void PinFolder::change_build() const {
  const auto values = host_values();
  CHECK(values);
  values->as<bpf::host>().front().build[0] ^= 1;
}

kernel::bpf::Ring PinFolder::open_events() const {
  auto ring = dataplane::ebpf::open_events(path_);
  CHECK(ring);
  return *std::move(ring);
}

std::vector<bpf::event> events_in(kernel::bpf::Ring& ring) {
  std::vector<bpf::event> events;
  ring.read(1000, [&](auto record) {
    if (record.size() == sizeof(bpf::departed)) return;  // of a connection that gave way
    CHECK(record.size() == sizeof(bpf::event));
    std::memcpy(&events.emplace_back(), record.data(), sizeof(bpf::event));
  });
  return events;
}

Result<bool> PinFolder::run_at_host(kernel::bpf::NetfilterHook hook,
                                    std::span<const std::uint8_t> packet) const {
  const auto programs = path_ / "programs";
  if (const auto asked = kernel::bpf::open_pin(programs / "at_host"))
    return kernel::bpf::run_at_netfilter(asked->get(), packet, hook);
  using enum kernel::bpf::NetfilterHook;
  TRY(const auto asked, kernel::bpf::open_pin(programs / (hook == kInput     ? "at_input"
                                                          : hook == kForward ? "at_forward"
                                                                             : "at_output")));
  TRY(const auto refused, kernel::bpf::run_asked(asked.get(), packet));
  return refused == 0;
}

void PinFolder::forget_connections() const {
  const auto workloads = connections();
  if (!workloads) return;
  std::ranges::fill(workloads->as<bpf::tracked>(), bpf::tracked{});
  holders()->as<bpf::holders>().front() = {};
  std::ranges::fill(open_array("ledger")->as<bpf::booked>(), bpf::booked{});
  const auto fragments = kernel::bpf::KernelMap::of(*open_map("fragments"));
  CHECK(fragments);
  std::vector<std::vector<std::byte>> keys;
  CHECK((*fragments)->for_each([&](auto key, auto) { keys.emplace_back(key.begin(), key.end()); }));
  for (const auto& key : keys) CHECK((*fragments)->remove(key));
}

std::vector<std::uint64_t> PinFolder::counters() const {
  auto counters = dataplane::ebpf::read_counters(path_);
  CHECK(counters);
  return *std::move(counters);
}

AgentHost::AgentHost(const Testbed& bed, dataplane::Options options,
                     std::function<void(const dataplane::Circumstances&)> on_other_choice) {
  bed.host().run([&] {
    const auto on_report = [this](const dataplane::Report& report) {
      const std::scoped_lock lock(mutex_);
      last_ = report;
      reported_.notify_all();
    };
    loop_ = std::make_unique<dataplane::DataplaneLoop>(std::move(options), inbox_, on_report,
                                                       std::function<void(const dataplane::HostKeeper&)>(),
                                                       std::move(on_other_choice));
  });
}

void AgentHost::apply(HostChanges changes) {
  changes.revisions = at_revision(++revision_).revisions;
  put(std::move(changes));
  await_revision(revision_);
}

dataplane::Report AgentHost::await(const std::function<bool(const dataplane::Report&)>& holds) {
  std::unique_lock lock(mutex_);
  const bool came = reported_.wait_for(lock, kGiveUp, [&] { return last_ && holds(*last_); });
  if (!came && last_) std::fprintf(stderr, "last report: error '%s'\n", last_->error.c_str());
  CHECK(came);
  return *last_;
}

dataplane::Report AgentHost::await_revision(std::uint64_t revision) {
  return await([&](const dataplane::Report& report) {
    const auto found = report.revisions.find(Kind::kPod);
    return report.error.empty() && found != report.revisions.end() && found->second.revision >= revision &&
           report.endpoints_ready == report.endpoints;
  });
}

HostChanges at_revision(std::uint64_t revision) {
  HostChanges changes;
  changes.revisions[Kind::kPod].revision = revision;
  return changes;
}

HostChanges first_state(std::uint64_t revision) {
  HostChanges changes = at_revision(revision);
  auto& tables = changes.tables;
  changes.settings.emplace();
  tables.outcomes.update(OutcomeId{1}, {Verdict::kAllow, {}});
  tables.outcomes.update(OutcomeId{2}, {Verdict::kDeny, {}});
  tables.tables.update(TableId{1}, {{{0, kLastTableKey, OutcomeId{1}, {}}}});
  tables.tables.update(TableId{2}, {{{0, kLastTableKey, OutcomeId{2}, {}}}});
  tables.tables.update(TableId{3}, {{{table_key(kTcp, 80), table_key(kTcp, 80), OutcomeId{1}, {}}}});
  tables.programs.update(kAllowAll, {VocabularyId{1}, TableId{1}});
  tables.programs.update(kDenyAll, {VocabularyId{1}, TableId{2}});
  tables.programs.update(kWebFromClass1, {VocabularyId{1}, TableId{2}});
  tables.projections.update({VocabularyId{1}, ClassId{1}}, ProjectionId{1});
  tables.tables_by_projection.update({kWebFromClass1, ProjectionId{1}}, TableId{3});
  tables.dictionary.update({IdSpace::kClass, Digest::of("class 1")}, 1);
  return changes;
}

ResourceKey pod_key(const std::string& name) {
  return {Kind::kPod, "shop", name};
}

void add_pod(HostChanges& changes, const std::string& name, const Station& pod, ProgramId ingress,
             ProgramId egress) {
  EndpointState endpoint{pod.interface(), {}};
  for (const auto family : kFamilies) {
    endpoint.addresses.push_back({pod.address(family), ingress, egress});
    changes.routes.update(Prefix::host(pod.address(family)), {Route::Kind::kInterface, pod.interface(), {}});
  }
  changes.endpoints.update(pod_key(name), endpoint);
}

void remove_pod(HostChanges& changes, const std::string& name, const Station& pod) {
  changes.endpoints.remove(pod_key(name));
  for (const auto family : kFamilies) changes.routes.remove(Prefix::host(pod.address(family)));
}

RawPacket probe(const IpAddress& from, const IpAddress& to, Protocol protocol, std::uint16_t port) {
  static std::atomic<std::uint32_t> next = 0;
  RawPacket packet;
  packet.token = ++next;
  packet.packet = {from, to, protocol, static_cast<std::uint16_t>(20000 + packet.token % 40000), port, 0, 0};
  if (protocol == kIcmp) packet.packet.icmp_type = 8;
  if (protocol == kIcmpV6) packet.packet.icmp_type = 128;
  return packet;
}

}  // namespace ocicat::test
