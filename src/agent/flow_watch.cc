#include "agent/flow_watch.h"

#include <net/if.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <boost/json.hpp>
#include <boost/unordered/unordered_flat_map.hpp>
#include <functional>
#include <optional>
#include <thread>
#include <utility>

#include "agent/flow_source.h"
#include "agent/losses.h"
#include "base/thread_name.h"
#include "base/time_text.h"
#include "flows/aggregator.h"
#include "flows/log_lines.h"
#include "views/flows.h"

namespace ocicat::agent {
namespace {

using std::chrono::milliseconds;

constexpr milliseconds kLookEvery{20};
constexpr std::chrono::seconds kWriteEvery{1};
// How often connections are looked at for what they have carried: at least, and at most where names are about to go or
// somebody asks.
constexpr std::chrono::seconds kAccountEvery{10};
constexpr std::chrono::seconds kAccountForNames{1};
constexpr milliseconds kAccountForQuestions{100};
// And whatever is asked, so many times as long as it has taken.
constexpr int kRest = 20;
// Of events, before news and followers are looked at again.
constexpr std::size_t kMostInARound = 50'000;
// For each follower: what it takes to write a flow down is a hundred times what it takes to sum it up.
constexpr std::size_t kMostLinesInARound = 1'000;

bool concerns(const flows::Party& party, const std::string& ns) {
  return party.group->ns == ns;
}

// By index, as the kernel says it, once a round.
class InterfaceNames {
 public:
  const std::string& operator()(std::uint32_t index) {
    const auto [known, is_new] = names_.try_emplace(index);
    std::array<char, IF_NAMESIZE> name{};
    if (is_new && ::if_indextoname(index, name.data()) != nullptr) known->second = name.data();
    return known->second;
  }
  void end_round() { names_.clear(); }

 private:
  boost::unordered_flat_map<std::uint32_t, std::string> names_;
};

// The agent's log has at most so many lines of Log rules in a round, which is a thousand a second.
constexpr std::size_t kMostLogLinesInARound = 20;

// Says what Log rules have to say, where the kernel has no rule that would (eBPF), in the agent's log.
class LogVoice {
 public:
  explicit LogVoice(InterfaceNames& names) : names_(names) {}

  void learn(const HostSettings& settings) {
    format_ = settings.log_prefix;
    limiter_.limit(settings.log_limit);
  }
  void say(const flows::Sighting& sighting) {
    const auto may_say = [&](const std::string& policy) {
      return limiter_.take(policy, std::chrono::steady_clock::now());
    };
    for (const auto& line : flows::log_lines(sighting, format_, std::ref(names_), may_say)) {
      said_ < kMostLogLinesInARound ? spdlog::info("{}", line) : void(++left_out_);
      ++said_;
    }
  }
  void end_round() {
    if (left_out_ != 0) spdlog::warn("{} lines of Log rules are left out", left_out_);
    said_ = left_out_ = 0;
  }

 private:
  InterfaceNames& names_;
  std::string format_;
  flows::LogLimiter limiter_;
  std::size_t said_ = 0, left_out_ = 0;
};

// What names are made of.
struct Learned {
  Changes<ResourceKey, Resource> resources;
  HostChanges host;
  std::optional<dataplane::HostInterfaces> interfaces{};

  void absorb(Learned later) {
    resources.absorb(std::move(later.resources));
    host.absorb(std::move(later.host));
    if (later.interfaces) interfaces = std::move(later.interfaces);
  }
};

struct Wishes {
  struct Follower {
    FlowFilter filter;
    std::weak_ptr<FlowMailbox> mailbox;
  };
  std::vector<Follower> followers;
  std::vector<std::function<void(boost::json::object)>> questions;

  void absorb(Wishes later) {
    std::ranges::move(later.followers, std::back_inserter(followers));
    std::ranges::move(later.questions, std::back_inserter(questions));
  }
};

}  // namespace

void FlowLines::absorb(FlowLines later) {
  const auto room = kMost - std::min(kMost, lines.size());
  const auto fits = std::min(room, later.lines.size());
  lines.insert(lines.end(), later.lines.begin(), later.lines.begin() + static_cast<std::ptrdiff_t>(fits));
  missed += later.missed + (later.lines.size() - fits);
}

struct FlowWatch::State {
  explicit State(Options&& chosen)
      : options(std::move(chosen)),
        losses(options.losses),
        source(FlowSource::of(options.dataplane, options.ledger, losses, std::ref(names))) {}

  Options options;
  Mailbox<Learned> news;
  Mailbox<Wishes> wishes;
  std::thread thread;

  // Of the thread.
  Losses losses;
  std::chrono::steady_clock::time_point next_write{};
  InterfaceNames names;
  std::unique_ptr<FlowSource> source;
  flows::Recorder recorder{std::ref(names)};
  LogVoice voice{names};
  std::chrono::milliseconds window = HostSettings{}.flow_window;  // flows are summed up for so long
  bool knows = false;  // names and outcomes: what happens before waits in the kernel
  flows::Aggregator aggregator{std::chrono::system_clock::now()};
  std::uint64_t lost = 0, lost_before = 0;  // of this window, of the last one
  std::uint64_t untold = 0, untold_before = 0;
  std::chrono::steady_clock::time_point accounted{};
  std::chrono::steady_clock::duration accounting{};  // what the last look has taken
  struct Follower : Wishes::Follower {
    FlowLines lines{};
  };
  std::vector<Follower> followers;

  void learn(Learned learned) {
    const auto& resources = learned.resources.entries();
    const bool some_go = std::ranges::any_of(resources, [](const auto& entry) { return !entry.second; });
    if (some_go) account(kAccountForNames);
    recorder.update(learned.resources);
    recorder.update(learned.host.tables.outcomes);
    recorder.update(learned.host.endpoints);
    source->learn(learned.host);
    if (learned.interfaces) {
      source->learn(*learned.interfaces);
      recorder.update(*std::move(learned.interfaces));
    }
    if (!learned.host.settings) return;
    read_events();  // what has happened so far is told as settings were
    voice.learn(*learned.host.settings);
    window = learned.host.settings->flow_window;
    knows = true;
  }

  void tell(Follower& follower, const flows::Sighting& sighting) const {
    const auto& filter = follower.filter;
    if (filter.refused_only && sighting.event.allowed()) return;
    if (!filter.ns.empty() && !concerns(sighting.source, filter.ns) &&
        !concerns(sighting.destination, filter.ns))
      return;
    if (follower.lines.lines.size() >= kMostLinesInARound) {
      ++follower.lines.missed;
      return;
    }
    auto text = boost::json::serialize(views::to_json(sighting, options.node)) + "\n";
    follower.lines.lines.push_back(std::make_shared<const std::string>(std::move(text)));
  }

  void take(const flows::Event& event) {
    const auto sighting = recorder.sighting_of(event);
    if (event.carried) return aggregator.add(sighting);
    if (options.dataplane.datapath == dataplane::Datapath::kEbpf) voice.say(sighting);
    if (event.reason == flows::Reason::kLogged) return;
    aggregator.add(sighting);
    for (auto& follower : followers) tell(follower, sighting);
  }

  // What connections have carried, where that was done no less than so long ago.
  void account(std::chrono::steady_clock::duration ago) {
    const auto now = std::chrono::steady_clock::now();
    if (ago > ago.zero()) ago = std::max(ago, kRest * accounting);
    if (!knows || now - accounted < ago) return;
    accounted = now;
    aggregator.look_again();
    source->read_connections([this](const flows::Event& event) { take(event); });
    accounting = std::chrono::steady_clock::now() - now;
  }

  void read_events() {
    if (!knows) return;
    source->read(kMostInARound, [this](const flows::Event& event) { take(event); });
    voice.end_round();
    names.end_round();
    const auto missed = source->take_lost();
    lost += missed;
    untold += source->take_untold();
    std::erase_if(followers, [](const auto& follower) { return follower.mailbox.expired(); });
    for (auto& follower : followers) {
      auto lines = std::exchange(follower.lines, {});
      lines.missed += missed;
      if (lines.lines.empty() && lines.missed == 0) continue;
      if (const auto mailbox = follower.mailbox.lock()) mailbox->put(std::move(lines));
    }
  }

  // After what is lost has been told.
  void write_losses() {
    const auto now = std::chrono::steady_clock::now();
    if (now < next_write) return;
    next_write = now + kWriteEvery;
    losses.write();
  }

  void turn() {
    const auto now = std::chrono::system_clock::now();
    if (now - aggregator.running().began < window) return;
    account({});
    aggregator.turn(now);
    lost_before = std::exchange(lost, 0);
    untold_before = std::exchange(untold, 0);
    recorder.forget_gone();
  }

  boost::json::object summary() const {
    boost::json::object object{{"host", options.node}};
    const auto& last = aggregator.last();
    const auto& running = aggregator.running();
    object["began"] = time_text(last.began == flows::Moment() ? running.began : last.began);
    boost::json::array all;
    for (const auto* part : {&last, &running}) {
      for (const auto& aggregate : part->aggregates)
        all.emplace_back(views::to_json(aggregate, options.node));
    }
    object["flows"] = std::move(all);
    auto others = last.others;
    others += running.others;
    boost::json::object counts;
    views::add_counts(counts, others);
    object["others"] = std::move(counts);
    object["lost"] = lost + lost_before;
    object["untold"] = untold + untold_before;
    return object;
  }

  void serve(Wishes&& asked) {
    for (auto& follower : asked.followers) followers.push_back({std::move(follower), {}});
    if (!asked.questions.empty()) account(kAccountForQuestions);
    for (const auto& answer : asked.questions) answer(summary());
  }

  void run() {
    name_thread("flows");
    while (!news.closed()) {
      if (auto learned = news.take_within(kLookEvery)) learn(*std::move(learned));
      read_events();
      account(kAccountEvery);
      write_losses();
      turn();
      if (auto asked = wishes.take()) serve(*std::move(asked));
    }
    losses.write();
  }
};

FlowWatch::FlowWatch(Options options) : state_(std::make_unique<State>(std::move(options))) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

FlowWatch::~FlowWatch() {
  state_->news.close();
  state_->thread.join();
}

void FlowWatch::learn(api::Update update) {
  Learned learned{.resources = std::move(update.resources), .host = {}};
  update.in_sync ? state_->news.leave(std::move(learned)) : state_->news.put_in_turn(std::move(learned));
}

void FlowWatch::learn(const HostChanges& changes) {
  state_->news.leave({.resources = {}, .host = FlowSource::needed(state_->options.dataplane, changes)});
}

void FlowWatch::learn(const dataplane::HostInterfaces& interfaces) {
  state_->news.leave({.resources = {}, .host = {}, .interfaces = interfaces});
}

std::shared_ptr<FlowMailbox> FlowWatch::follow(FlowFilter filter) {
  auto mailbox = std::make_shared<FlowMailbox>();
  state_->wishes.put({{{std::move(filter), mailbox}}, {}});
  return mailbox;
}

void FlowWatch::ask(std::function<void(boost::json::object)> answer) {
  state_->wishes.put({{}, {std::move(answer)}});
}

}  // namespace ocicat::agent
