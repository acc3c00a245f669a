#include "agent/flow_source.h"

#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <boost/unordered/unordered_flat_map.hpp>
#include <chrono>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "dataplane/ebpf/connection_ledger.h"
#include "dataplane/ebpf/objects.h"
#include "dataplane/edges/telling.h"
#include "flows/replay.h"
#include "flows/tracked_ledger.h"
#include "kernel/connections.h"
#include "kernel/host_addresses.h"
#include "kernel/packet_log.h"
#include "kernel/routes.h"
#include "maps/counters.h"

namespace ocicat::agent {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::chrono::seconds kLook{1};  // how often pins are looked at

// From CLOCK_MONOTONIC to the time of day.
std::chrono::nanoseconds clock_offset() {
  const auto day = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(day - Clock::now().time_since_epoch());
}

// The ring that the programs write to. It is pinned once they are attached, and another one may take its
// place.
class RingSource {
 public:
  RingSource(std::filesystem::path folder, Losses& losses)
      : folder_(std::move(folder)),
        ledger_(dataplane::ebpf::maps_of(folder_)),
        account_(losses.of("ring")),
        untold_account_(losses.of("untold")) {}

  void read(std::size_t most, const std::function<void(const flows::Event&)>& visit) {
    look();
    if (!ring_) return;
    ring_->read(most, [&, offset = clock_offset()](auto record) { take(record, offset, visit); });
  }

  void read_connections(const std::function<void(const flows::Event&)>& visit) {
    if (!ring_) return;
    const auto now = std::chrono::system_clock::now();
    const auto drain = [&] {
      return ring_->read_all([&, offset = clock_offset()](auto record) { take(record, offset, visit); });
    };
    const auto done = ledger_.walk(
        drain, [&](const dataplane::ebpf::Booking& booking) { flows::events_of(booking, now, visit); });
    if (!done && done.error().code != ErrorCode::kNotFound)
      spdlog::warn("flows: connections: {}", done.error().message);
  }

  std::uint64_t take_lost() { return std::exchange(lost_, 0); }
  std::uint64_t take_untold() { return std::exchange(untold_, 0); }

 private:
  void take(kernel::bpf::Bytes record, std::chrono::nanoseconds offset,
            const std::function<void(const flows::Event&)>& visit) {
    bpf::event told;
    bpf::departed departed;
    if (record.size() == sizeof told) {
      std::memcpy(&told, record.data(), sizeof told);
      visit(flows::event_of(told, offset));
    } else if (record.size() == sizeof departed) {
      std::memcpy(&departed, record.data(), sizeof departed);
      const auto time = flows::moment_of(departed.time, offset);
      ledger_.depart(departed, [&](const auto& booking) { flows::events_of(booking, time, visit); });
    }
  }

  void look() {
    if (Clock::now() < next_look_) return;
    next_look_ = Clock::now() + kLook;
    struct stat pin{};
    if (::stat(dataplane::ebpf::events_pin(folder_).c_str(), &pin) != 0) return;
    if (pin.st_ino != pin_) open(pin.st_ino);
    count_lost();
  }

  void open(ino_t pin) {
    auto ring = dataplane::ebpf::open_events(folder_);
    if (!ring) {
      spdlog::warn("flows: {}", ring.error().message);
      return;
    }
    ring_ = *std::move(ring);
    pin_ = pin;
  }

  void count_lost() {
    const auto counters = dataplane::ebpf::read_counters(folder_);
    if (!counters || counters->size() != bpf::COUNTERS_MAX) return;
    account_.count((*counters)[bpf::COUNT_EVENTS_FULL] + (*counters)[bpf::COUNT_EVENTS_SHARE]);
    lost_ += account_.settle();
    untold_account_.count((*counters)[bpf::COUNT_UNTOLD]);
    untold_ += untold_account_.settle();
  }

  std::filesystem::path folder_;
  std::optional<kernel::bpf::Ring> ring_;
  dataplane::ebpf::ConnectionLedger ledger_;
  ino_t pin_ = 0;
  Clock::time_point next_look_{};
  Account &account_, &untold_account_;  // of what is lost: none of it is told by itself
  std::uint64_t lost_ = 0, untold_ = 0;
};

// By which interfaces the host reaches others, as the kernel says, for a while.
class HostWays {
 public:
  static Result<HostWays> open() {
    HostWays ways;
    TRY(ways.routes_, kernel::NetlinkRoutes::open());
    return ways;
  }
  // Before a look at all connections.
  void refresh() {
    constexpr std::chrono::minutes kFor{1};
    own_ = kernel::own_addresses();
    if (Clock::now() < forget_at_) return;
    forget_at_ = Clock::now() + kFor;
    known_.clear();
  }
  bool is_own(const IpAddress& address) const { return own_.contains(address); }
  std::uint32_t leads_to(const IpAddress& address) {
    if (known_.size() >= kMost) known_.clear();
    const auto [known, is_new] = known_.try_emplace(address);
    if (!is_new) return known->second;
    const auto hop = routes_->next_hop(address);
    return known->second = hop ? static_cast<std::uint32_t>(hop->link) : 0;
  }

 private:
  static constexpr std::size_t kMost = 65'536;

  std::unique_ptr<kernel::NetlinkRoutes> routes_;
  std::set<IpAddress> own_;
  boost::unordered_flat_map<IpAddress, std::uint32_t> known_;
  Clock::time_point forget_at_{};
};

// What connections have carried, from the kernel's table of them.
class TrackedSource {
 public:
  static Result<TrackedSource> open(const std::filesystem::path& file) {
    TrackedSource source;
    TRY(source.connections_, kernel::NetlinkConnections::open());
    TRY(source.ended_, kernel::EndedConnections::open());
    TRY(source.ledger_, flows::TrackedLedger::open(file, flows::TrackedLedger::era_of_host()));
    TRY(source.ways_, HostWays::open());
    return source;
  }

  // `revoked`: the bit in the marks of those that policy denies by now.
  void read_ended(const flows::Replay& replay, std::uint32_t revoked,
                  const std::function<void(const flows::Event&)>& visit) {
    constexpr std::size_t kMost = 50'000;  // some times what the kernel keeps for us
    const auto ways = this->ways();
    const auto done = ended_->read(kMost, [&](const kernel::Connection& connection) {
      ledger_->book(connection, false, replay, ways, revoked, visit);
    });
    if (!done) spdlog::warn("flows: connections that end: {}", done.error().message);
  }

  void read_all(const flows::Replay& replay, std::uint32_t revoked,
                const std::function<void(const flows::Event&)>& visit) {
    // Nothing of interest is there.
    if (ledger_->size() == 0 && !kernel::counts_connections(false).value_or(false)) return;
    ways_->refresh();
    const auto ways = this->ways();
    const auto done = connections_->list([&](const kernel::Connection& connection) {
      ledger_->book(connection, true, replay, ways, revoked, visit);
    });
    read_ended(replay, revoked, visit);
    // Each that has gone unheard of is one that was lost, or has begun while nobody listened.
    if (done) lost_ += std::max<std::uint64_t>(ledger_->end_look(), ended_->take_lost());
    if (!done) spdlog::warn("flows: {}", done.error().message);
  }

  kernel::NetlinkConnections& connections() { return *connections_; }
  std::uint64_t take_lost() { return std::exchange(lost_, 0); }

 private:
  flows::Ways ways() {
    return {.is_own = [this](const IpAddress& address) { return ways_->is_own(address); },
            .leads_to = [this](const IpAddress& address) { return ways_->leads_to(address); }};
  }

  std::unique_ptr<kernel::NetlinkConnections> connections_;
  std::optional<kernel::EndedConnections> ended_;
  std::optional<flows::TrackedLedger> ledger_;
  std::optional<HostWays> ways_;
  std::uint64_t lost_ = 0;
};

// The log groups of our table of nftables.
class LogSource final : public FlowSource {
 public:
  // `replays`: policy is in that table, too.
  LogSource(std::string table, bool replays, std::filesystem::path ledger, Losses& losses, NameOf name_of)
      : table_(std::move(table)),
        replays_(replays),
        ledger_(std::move(ledger)),
        replay_(std::move(name_of), [this](const policy::Packet& packet) { return asked_for(packet); }) {
    for (const auto& telling : dataplane::kTellings)
      accounts_[index_of(telling)] = &losses.of(std::string(telling.word));
  }

  void learn(const HostChanges& changes) override {
    if (replays_) replay_.update(changes);
    if (changes.settings) revoked_mark_ = changes.settings->revoked_mark;
  }
  void learn(const dataplane::HostInterfaces& interfaces) override { replay_.update(interfaces); }

  void read(std::size_t, const std::function<void(const flows::Event&)>& visit) override {
    look();
    if (!log_) return;
    const auto done = log_->read([&](const kernel::LoggedPacket& packet) {
      const auto reason = flows::find_reason(packet.prefix);
      if (!reason) return;  // of somebody else, who logs to the same group
      if (auto* account = accounts_[static_cast<std::size_t>(*reason)]) account->told();
      replay_.events_of(packet, visit);
    });
    if (!done) return again(done.error());
    if (tracked_) tracked_->read_ended(replay_, revoked_mark_, visit);
  }

  void read_connections(const std::function<void(const flows::Event&)>& visit) override {
    if (tracked_) tracked_->read_all(replay_, revoked_mark_, visit);
  }
  std::uint64_t take_untold() override { return 0; }
  std::uint64_t take_lost() override {
    return std::exchange(lost_, 0) + (tracked_ ? tracked_->take_lost() : 0);
  }

 private:
  static constexpr std::size_t kReasons = static_cast<std::size_t>(flows::Reason::kOther) + 1;

  static std::size_t index_of(const dataplane::Telling& telling) {
    return static_cast<std::size_t>(*flows::find_reason(telling.word));
  }

  std::optional<kernel::Asked> asked_for(const policy::Packet& packet) {
    if (!tracked_) return std::nullopt;
    kernel::Connection connection{packet.source, packet.destination, packet.protocol};
    connection.source_port = packet.source_port;
    connection.destination_port = packet.destination_port;
    const auto asked = tracked_->connections().asked_for(connection);
    return asked ? *asked : std::nullopt;
  }

  void again(const Error& error) {
    spdlog::warn("flows: {}", error.message);
    log_.reset();
  }

  void look() {
    if (Clock::now() < next_look_) return;
    next_look_ = Clock::now() + kLook;
    if (!log_) {
      if (const auto opened = open(); !opened) return again(opened.error());
    }
    if (replays_ && !tracked_) open_tracked();
    count_lost();
  }

  // What begins is told without.
  void open_tracked() {
    auto tracked = TrackedSource::open(ledger_);
    if (tracked) {
      tracked_.emplace(*std::move(tracked));
    } else if (tracked.error().message != why_not_tracked_) {
      why_not_tracked_ = tracked.error().message;
      spdlog::warn("flows do not say what connections carry: {}", why_not_tracked_);
    }
  }

  Result<void> open() {
    TRY(auto log, kernel::PacketLog::open());
    TRY_VOID(log.listen(dataplane::kRefusedGroup));
    TRY_VOID(log.listen(dataplane::kBegunGroup));
    TRY(counters_, kernel::ChainCounters::open(table_));
    log_ = std::move(log);
    return {};
  }

  // What had been counted at the last look, and nobody has been told of by now.
  void count_lost() {
    std::array<std::uint64_t, kReasons> now{};
    for (const auto& telling : dataplane::kTellings) {
      const auto packets = counters_->packets(telling.chain);
      if (!packets) return;
      for (const auto count : *packets) now[index_of(telling)] += count;
    }
    for (std::size_t i = 0; i < kReasons; ++i) {
      if (accounts_[i] == nullptr) continue;
      lost_ += accounts_[i]->settle();
      accounts_[i]->count(now[i]);
    }
  }

  std::string table_;
  bool replays_;
  std::filesystem::path ledger_;
  std::optional<kernel::PacketLog> log_;
  std::optional<kernel::ChainCounters> counters_;
  std::optional<TrackedSource> tracked_;
  std::string why_not_tracked_;
  std::uint32_t revoked_mark_ = 0;
  flows::Replay replay_;
  std::array<Account*, kReasons> accounts_{};  // none: no chain tells of it
  Clock::time_point next_look_{};
  std::uint64_t lost_ = 0;
};

// Where nothing is judged, nobody tells.
class NoSource final : public FlowSource {
 public:
  void learn(const HostChanges&) override {}
  void learn(const dataplane::HostInterfaces&) override {}
  void read(std::size_t, const std::function<void(const flows::Event&)>&) override {}
  void read_connections(const std::function<void(const flows::Event&)>&) override {}
  std::uint64_t take_untold() override { return 0; }
  std::uint64_t take_lost() override { return 0; }
};

class BothSources final : public FlowSource {
 public:
  BothSources(const dataplane::Options& options, Losses& losses, NameOf name_of)
      : ring_(options.pin_folder, losses), log_(options.nft_table, false, {}, losses, std::move(name_of)) {}

  void learn(const HostChanges& changes) override { log_.learn(changes); }
  void learn(const dataplane::HostInterfaces& interfaces) override { log_.learn(interfaces); }
  void read(std::size_t most, const std::function<void(const flows::Event&)>& visit) override {
    ring_.read(most, visit);
    log_.read(most, visit);
  }
  void read_connections(const std::function<void(const flows::Event&)>& visit) override {
    ring_.read_connections(visit);
  }
  std::uint64_t take_untold() override { return ring_.take_untold(); }
  std::uint64_t take_lost() override { return ring_.take_lost() + log_.take_lost(); }

 private:
  RingSource ring_;
  LogSource log_;
};

}  // namespace

HostChanges FlowSource::needed(const dataplane::Options& options, const HostChanges& changes) {
  HostChanges needed;
  needed.settings = changes.settings;
  const auto& from = changes.tables;
  auto& to = needed.tables;
  to.outcomes = from.outcomes;
  needed.endpoints = changes.endpoints;  // who has which interface
  // Programs of eBPF name the outcome themselves.
  if (options.datapath != dataplane::Datapath::kNftables) return needed;
  to.tables = from.tables;
  to.programs = from.programs;
  to.chains = from.chains;
  to.chain_programs = from.chain_programs;
  to.tables_by_projection = from.tables_by_projection;
  to.projections = from.projections;
  to.classes = from.classes;
  needed.host_endpoints = changes.host_endpoints;
  return needed;
}

std::unique_ptr<FlowSource> FlowSource::of(const dataplane::Options& options,
                                           const std::filesystem::path& ledger, Losses& losses,
                                           NameOf name_of) {
  if (options.datapath == dataplane::Datapath::kEbpf)
    return std::make_unique<BothSources>(options, losses, std::move(name_of));
  if (options.datapath == dataplane::Datapath::kNone) return std::make_unique<NoSource>();
  return std::make_unique<LogSource>(options.nft_table, true, ledger, losses, std::move(name_of));
}

}  // namespace ocicat::agent
