#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <ctime>
#include <thread>

#include "base/thread_name.h"
#include "base/unique_fd.h"
#include "dataplane/datapath_choice.h"
#include "dataplane/dataplane.h"
#include "dataplane/ebpf/ebpf_policy.h"
#include "dataplane/host_keeper.h"
#include "dataplane/judging_pace.h"
#include "dataplane/nftables/policy_table.h"
#include "dataplane/retry.h"
#include "kernel/nft_kernel.h"

namespace ocicat::dataplane {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr milliseconds kResyncPeriod{90'000};     // in case the kernel did not tell us of something
constexpr milliseconds kLoadAgainAfter{300'000};  // eBPF that could not be loaded for a reason that passes
constexpr milliseconds kLookPeriod{10'000};  // for what speaks for the other datapath, and nobody tells of
constexpr milliseconds kLookGap{1'000};      // between looks at least
constexpr int kPolicyResyncEvery = 7;        // times rarer: 200,000 elements take a second to read
// Between repairs, lest two who want different things keep a host busy.
constexpr milliseconds kPolicyRepairGap{500}, kRouteRepairGap{50};

struct Doors {
  std::unique_ptr<kernel::nft::NetlinkKernel> nft, nat;
  std::unique_ptr<kernel::NetlinkRoutes> routes;
  std::unique_ptr<kernel::NetlinkTunnels> tunnels;
  std::unique_ptr<kernel::NetlinkConnections> connections;
  std::unique_ptr<kernel::NetlinkQueues> queues;
  std::optional<kernel::nft::Monitor> nft_monitor, nat_monitor;
  std::optional<kernel::RouteMonitor> route_monitor;
  std::optional<kernel::EndMonitor> end_monitor;
};

// Of this thread, in the kernel as well.
Clock::duration processor_time() {
  timespec time{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return std::chrono::seconds(time.tv_sec) + std::chrono::nanoseconds(time.tv_nsec);
}

Result<Doors> open_doors(const Options& options) {
  Doors doors;
  TRY(doors.nft, kernel::nft::NetlinkKernel::open(options.nft_table));
  TRY(doors.nat, kernel::nft::NetlinkKernel::open(options.nat_table()));
  TRY(doors.routes, kernel::NetlinkRoutes::open());
  TRY(doors.tunnels, kernel::NetlinkTunnels::open());
  TRY(doors.connections, kernel::NetlinkConnections::open());
  TRY(doors.queues, kernel::NetlinkQueues::open());
  // Either hears of every table: without the other's port, each change of ours woke us once more.
  const std::vector<std::uint32_t> own{doors.nft->port(), doors.nat->port()};
  TRY(doors.nft_monitor, kernel::nft::Monitor::open(options.nft_table, own));
  TRY(doors.nat_monitor, kernel::nft::Monitor::open(options.nat_table(), own));
  TRY(doors.route_monitor, kernel::RouteMonitor::open(doors.routes->port()));
  TRY(doors.end_monitor, kernel::EndMonitor::open());
  return doors;
}

// Programs first, then what they look at.
Result<void> remove_ebpf(const Options& options, kernel::RouteKernel& routes) {
  TRY(const auto links, routes.links());
  std::set<int> interfaces;
  for (const auto& link : links) interfaces.insert(link.index);
  TRY_VOID(ebpf::leave_filter_places(interfaces));
  return ebpf::remove_objects(options.pin_folder);
}

}  // namespace

struct DataplaneLoop::State {
  State(Options options_, Mailbox<HostChanges>& inbox_, std::function<void(const Report&)> on_report_,
        std::function<void(const HostKeeper&)> on_attempt_,
        std::function<void(const Circumstances&)> on_other_choice_)
      : options(std::move(options_)),
        inbox(inbox_),
        on_report(std::move(on_report_)),
        on_attempt(std::move(on_attempt_)),
        on_other_choice(std::move(on_other_choice_)) {}

  Options options;
  Mailbox<HostChanges>& inbox;
  std::function<void(const Report&)> on_report;
  std::function<void(const HostKeeper&)> on_attempt;
  std::function<void(const Circumstances&)> on_other_choice;
  // Shared with the mailbox, which may still be waking us while we end.
  std::shared_ptr<UniqueFd> wake = std::make_shared<UniqueFd>(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  std::atomic<bool> stopping = false;
  std::thread thread;

  // Of the thread.
  HostKeeper::Doubts doubts{};
  Retry retry;
  Clock::time_point policy_repair_from{}, route_repair_from{};
  JudgingPace judging;
  Clock::time_point next_resync = Clock::now() + kResyncPeriod;
  int resyncs = 0;
  // What the datapath depends on, or, where somebody has named eBPF, what speaks against it.
  Circumstances circumstances = options.chosen_by.value_or(Circumstances{});
  // With eBPF at once: what has come since it was chosen, and before the kernel was listened to, nobody tells of.
  Clock::time_point look_at =
      Clock::now() + (options.datapath == Datapath::kEbpf ? milliseconds(0) : kLookPeriod);
  Clock::time_point next_look_from{};
  Clock::time_point load_again = Clock::now() + kLoadAgainAfter;
  std::map<ResourceKey, HostEndpointState> host_endpoints;  // where the choice may depend on them
  bool others_gone = false;
  std::string told_warning;

  void wake_up() const {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake->get(), &one, sizeof one);
  }

  // Until something happens, or the time is up. While nothing may be done yet about what others do to routes and
  // links, they are not listened to: ten thousand routes of BIRD's are a few wake-ups, and not one each.
  void wait(const Doors* doors, Clock::time_point until) const {
    const bool listens = Clock::now() >= route_repair_from;
    if (doors != nullptr && !listens) until = std::min(until, route_repair_from);
    std::array<pollfd, 5> fds;
    fds.fill({-1, POLLIN, 0});
    fds[0].fd = wake->get();
    if (doors != nullptr) {
      fds[1].fd = doors->nft_monitor->fd();
      fds[2].fd = doors->nat_monitor->fd();
      if (listens) fds[3].fd = doors->route_monitor->fd();
      if (listens) fds[4].fd = doors->end_monitor->fd();
    }
    const auto left = std::chrono::ceil<milliseconds>(until - Clock::now()).count();
    ::poll(fds.data(), fds.size(), static_cast<int>(std::clamp<long long>(left, 0, kResyncPeriod.count())));
    std::uint64_t count = 0;  // of all that have woken us
    if ((fds[0].revents & POLLIN) != 0) {
      [[maybe_unused]] const auto taken = ::read(wake->get(), &count, sizeof count);
    }
  }

  std::optional<Doors> open_until_stopped() {
    while (!stopping) {
      auto doors = open_doors(options);
      if (doors) return std::move(*doors);
      Report report;
      report.error = doors.error().message;
      on_report(report);
      retry.failed(Clock::now());
      while (!stopping && Clock::now() < retry.not_before()) wait(nullptr, retry.not_before());
    }
    return std::nullopt;
  }

  // A monitor that cannot be read has lost messages for all we know.
  void listen(Doors& doors, const HostKeeper& keeper) {
    std::array<pollfd, 4> fds{{{doors.nft_monitor->fd(), POLLIN, 0},
                               {doors.nat_monitor->fd(), POLLIN, 0},
                               {doors.route_monitor->fd(), POLLIN, 0},
                               {doors.end_monitor->fd(), POLLIN, 0}}};
    ::poll(fds.data(), fds.size(), 0);  // mostly none has anything to tell
    if (fds[0].revents != 0) hear_of_policy(*doors.nft_monitor);
    if (fds[1].revents != 0) {
      const auto changed = doors.nat_monitor->changed();
      doubts.nat |= !changed || *changed;
    }
    // What a workload's link has told is known before its endpoint is, also where reading the others has taken a while.
    if (fds[0].revents != 0 || fds[1].revents != 0 || fds[2].revents != 0)
      hear_of_routes(*doors.route_monitor, keeper);
    if (fds[3].revents != 0) hear_of_ends(*doors.end_monitor, keeper);
    if (Clock::now() < resync_at()) return;
    next_resync = Clock::now() + kResyncPeriod;
    doubts.nat = doubts.routes = doubts.links.all = doubts.next_hops = true;
    if (++resyncs % kPolicyResyncEvery == 0) doubts.policy = true;
  }

  void hear_of_policy(kernel::nft::Monitor& monitor) {
    const bool runs_ebpf = options.datapath == Datapath::kEbpf;
    const auto changed = monitor.changed([&](kernel::MessageView message) {
      if (runs_ebpf) hear(options, message, circumstances);
    });
    const bool doubted = !changed || *changed;
    doubts.policy |= doubted;
    // What was lost may have told of others' rules as well.
    if (runs_ebpf && doubted) look_at = std::min(look_at, next_look_from);
  }

  void hear_of_routes(kernel::RouteMonitor& monitor, const HostKeeper& keeper) {
    const auto events = monitor.read(options.route_protocol);
    doubts.routes |= !events || events->own ||
                     std::ranges::any_of(events->hops, [&](auto number) { return keeper.has_hop(number); });
    doubts.links.add(events ? events->links : kernel::LinkDoubts{.all = true});
    doubts.next_hops |= !events || events->others;
    // Another's route that has gone may have stood in the way of ours, which need not wait for its next try.
    if (events && std::ranges::any_of(events->vacated,
                                      [&](const auto& prefix) { return keeper.lacks_route(prefix); })) {
      doubts.routes = true;
      retry.at_latest(std::max(Clock::now(), route_repair_from));
    }
  }

  // Of those that go by our own hand as well.
  void hear_of_ends(kernel::EndMonitor& monitor, const HostKeeper& keeper) {
    const auto gone = monitor.read();
    doubts.ends |= !gone || keeper.misses_end(*gone);
  }

  // The doubts whose time has come. Links are looked at together with what is desired anew: a workload's
  // comes just before it.
  HostKeeper::Doubts due(Clock::time_point now, bool changing) {
    HostKeeper::Doubts ripe;
    if (now >= policy_repair_from) ripe.policy = std::exchange(doubts.policy, false);
    if (now >= route_repair_from) {
      ripe.nat = std::exchange(doubts.nat, false);
      ripe.routes = std::exchange(doubts.routes, false);
      ripe.next_hops = std::exchange(doubts.next_hops, false);
      ripe.ends = std::exchange(doubts.ends, false);
    }
    if (changing || now >= route_repair_from) ripe.links = std::exchange(doubts.links, {});
    return ripe;
  }

  // Reading all again may take a second: a round over open connections that is waited for comes before.
  Clock::time_point resync_at() const { return std::max(next_resync, judging.due().value_or(next_resync)); }

  // Whether there was something to tell.
  bool judge_connections(HostKeeper& keeper) {
    if (!keeper.connections_wait()) return false;
    const auto now = Clock::now();
    judging.wait(now);
    if (now < *judging.due()) return false;
    const auto revoked = keeper.report().revoked;
    const auto error = keeper.report().error;
    const auto before = processor_time();
    [[maybe_unused]] const auto judged = keeper.judge_connections();  // after an error they wait again
    judging.judged(now, Clock::now(), processor_time() - before);
    return keeper.report().revoked != revoked || keeper.report().error != error;
  }

  Clock::time_point next_moment(const HostKeeper& keeper) const {
    auto moment = resync_at();
    if (looks()) moment = std::min(moment, look_at);
    if (!keeper.started()) return moment;
    if (judging.due() && keeper.connections_wait()) moment = std::min(moment, *judging.due());
    if (retry.failing()) moment = std::min(moment, retry.not_before());
    if (doubts.policy) moment = std::min(moment, std::max(policy_repair_from, retry.not_before()));
    if (doubts.nat || doubts.routes || doubts.links.any() || doubts.next_hops || doubts.ends) {
      moment = std::min(moment, std::max(route_repair_from, retry.not_before()));
    }
    return moment;
  }

  // Once ours is in force. The table of nftables has been replaced by then, whichever it was.
  void remove_other_datapath(kernel::RouteKernel& routes) {
    if (options.datapath != Datapath::kNftables || options.pin_folder.empty() ||
        std::exchange(others_gone, true))
      return;
    if (const auto removed = remove_ebpf(options, routes); !removed) others_gone = false;
  }

  // Whether anybody is to hear of what others do: who named nftables has nothing to fear from them.
  bool looks() const { return options.chosen_by || options.datapath == Datapath::kEbpf; }

  // What cannot be seen, as others are busy, is taken to be as it was, and looked at again soon.
  void look() {
    if (Clock::now() < look_at) return;
    const auto seen = look_again(options, circumstances);
    next_look_from = Clock::now() + kLookGap;
    look_at = Clock::now() + (seen ? kLookPeriod : kLookGap);
    if (circumstances.may_pass && Clock::now() >= load_again) circumstances.kernel_cannot.clear();
  }

  // Whether circumstances speak for the other datapath by now.
  bool chooses_other(const std::optional<HostChanges>& message) {
    if (!looks()) return false;
    look();
    if (!options.chosen_by) return false;
    if (message) message->host_endpoints.apply_to(host_endpoints);
    if (message) circumstances.has_host_endpoints = !host_endpoints.empty();
    if (choose(circumstances).datapath == options.datapath) return false;
    on_other_choice(circumstances);
    return true;
  }

  void report(const HostKeeper& keeper) {
    told_warning = options.chosen_by ? std::string() : warning(circumstances);
    if (told_warning.empty()) return on_report(keeper.report());
    auto report = keeper.report();
    report.warning = told_warning;
    on_report(report);
  }

  bool has_another_warning() const { return !options.chosen_by && warning(circumstances) != told_warning; }

  void attempt(HostKeeper& keeper, Doors& doors) {
    const bool done = keeper.attempt();
    // Where that fails they are read again after a while, as everything is.
    [[maybe_unused]] const auto watched = doors.end_monitor->watch(keeper.tunnel_links());
    hear_of_ends(*doors.end_monitor, keeper);  // lest what we have removed wakes us
    if (done) {
      retry.succeeded();
      remove_other_datapath(*doors.routes);
    } else {
      retry.failed(Clock::now());
    }
    if (on_attempt) on_attempt(keeper);
    report(keeper);
  }

  void run() {
    name_thread("dataplane");
    auto doors = open_until_stopped();
    if (!doors) return;
    retry.succeeded();
    HostKeeper keeper(
        {*doors->nft, *doors->nat, *doors->routes, *doors->tunnels, *doors->connections, *doors->queues},
        options);
    while (!stopping) {
      listen(*doors, keeper);
      auto message = inbox.take();
      if (chooses_other(message)) return;
      const auto now = Clock::now();
      if (message) retry.changed(now);
      const bool acts = (message || keeper.started()) && now >= retry.not_before();
      auto ripe = acts ? due(now, message.has_value()) : HostKeeper::Doubts();
      const bool any_ripe = ripe.any();
      keeper.doubt({.links = std::exchange(ripe.links, {})});  // first: what comes may depend on them
      if (message) keeper.take(*message);
      if (acts) {
        keeper.doubt(ripe);
        if (message || retry.failing() || any_ripe) {
          if (ripe.policy) policy_repair_from = now + kPolicyRepairGap;
          if (any_ripe) route_repair_from = now + kRouteRepairGap;
          attempt(keeper, *doors);
        }
      }
      const bool judged = judge_connections(keeper);
      if (judged || (keeper.started() && has_another_warning())) report(keeper);
      wait(&*doors, next_moment(keeper));
    }
  }
};

DataplaneLoop::DataplaneLoop(Options options, Mailbox<HostChanges>& inbox,
                             std::function<void(const Report&)> on_report,
                             std::function<void(const HostKeeper&)> on_attempt,
                             std::function<void(const Circumstances&)> on_other_choice)
    : state_(std::make_unique<State>(std::move(options), inbox, std::move(on_report), std::move(on_attempt),
                                     std::move(on_other_choice))) {
  inbox.on_put([wake = state_->wake] {
    const std::uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake->get(), &one, sizeof one);
  });
  state_->thread = std::thread([this] { state_->run(); });
}

DataplaneLoop::~DataplaneLoop() {
  state_->stopping = true;
  state_->wake_up();
  state_->thread.join();
  state_->inbox.on_put({});
}

std::string_view to_string(Datapath datapath) {
  return datapath == Datapath::kEbpf ? "ebpf" : datapath == Datapath::kNone ? "none" : "nftables";
}

namespace {

// What nobody keeps up to date would go on judging; and what is removed by itself would be an opening.
Result<void> must_find_no_policy(const Options& options, kernel::nft::Kernel& kernel) {
  constexpr const char* kHow =
      "nobody would keep it up to date without a dataplane: remove it with `ocicat agent --cleanup`, and "
      "start again";
  TRY(const auto table, kernel.read_shape());
  if (table) {
    return fail(ErrorCode::kUnavailable, "an agent before has left its policy in table inet {}; {}",
                options.nft_table, kHow);
  }
  std::error_code ignored;
  const auto& pins = options.pin_folder;
  if (!pins.empty() && std::filesystem::exists(pins, ignored) && !std::filesystem::is_empty(pins, ignored)) {
    return fail(ErrorCode::kUnavailable, "an agent before has left its eBPF programs in {}; {}",
                pins.string(), kHow);
  }
  return {};
}

}  // namespace

Result<policy::Dictionary> adopt_dictionary(const Options& options) {
  if (options.datapath == Datapath::kEbpf) return ebpf::read_dictionary(options.pin_folder);
  TRY(const auto kernel, kernel::nft::NetlinkKernel::open(options.nft_table));
  if (options.datapath == Datapath::kNone) {
    TRY_VOID(must_find_no_policy(options, *kernel));
    return policy::Dictionary{};
  }
  return read_dictionary(*kernel);
}

Result<void> remove_all(const Options& options) {
  TRY(const auto nft, kernel::nft::NetlinkKernel::open(options.nft_table));
  TRY_VOID(remove_table(*nft));
  TRY(const auto nat, kernel::nft::NetlinkKernel::open(options.nat_table()));
  TRY_VOID(remove_table(*nat));
  TRY(const auto routes, kernel::NetlinkRoutes::open());
  if (!options.pin_folder.empty()) TRY_VOID(remove_ebpf(options, *routes));
  TRY(const auto tunnels, kernel::NetlinkTunnels::open());
  for (const auto family : kFamilies) {
    TRY_VOID(Vxlan(*tunnels, family).retire());
  }
  TRY_VOID(Ipip(*tunnels).retire());
  TRY(const auto queues, kernel::NetlinkQueues::open());
  TRY_VOID(remove_limits(*queues));
  return remove_routes(*routes, options.route_protocol);
}

}  // namespace ocicat::dataplane
