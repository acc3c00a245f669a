#include "sim/simulated_agent.h"

#include <algorithm>
#include <utility>

#include "dataplane/nftables/policy_table.h"
#include "sim/documents.h"

namespace ocicat::test {
namespace {

constexpr std::size_t kPacketsJudged = 12;  // for each address, direction and state, at each write

constexpr std::size_t kMostLookups = 20;  // of one packet

const Error kNoMemory{ErrorCode::kExhausted, "no memory"};

}  // namespace

SimulatedAgent::Process::Process(Engine engine, kernel::nft::Kernel& nft, kernel::RouteKernel& routes,
                                 std::uint32_t seed)
    : thinker(std::move(engine)), keeper({nft, nat, routes, tunnels, tracked, queues}, {}) {
  for (const Kind kind : agent::followed_kinds()) connections.emplace_back(kind, ++seed);
}

SimulatedAgent::SimulatedAgent(std::string node, const kernel::SimulatedRoutes& routes, std::uint32_t seed)
    : node_(std::move(node)), routes_(routes) {
  const auto judge = [this](const Elements& now, const Elements& before) {
    if (!opening_.empty()) return;
    Random random(++moments_);
    const Moment moment{now, before, static_cast<int>(random.below(kMostLookups))};
    opening_ = test::opening(moment, in_force_, host_interfaces(), random, kPacketsJudged, judged_);
  };
  nft_.watch([judge](const kernel::nft::SimulatedKernel& kernel) {
    judge(kernel.all_elements(), kernel.all_elements());
  });
  nft_.watch_late(judge);
  restart(seed);
}

void SimulatedAgent::restart(std::uint32_t seed) {
  process_.reset();
  const auto dictionary = dataplane::read_dictionary(nft_);
  CHECK(dictionary);
  process_ =
      std::make_unique<Process>(Engine({.node = node_, .dictionary = *dictionary}), nft_, routes_, seed);
}

std::string SimulatedAgent::hear(std::size_t connection, SimulatedServer& server, Time now, Random& random,
                                 const Weather& weather) {
  auto& from = process_->connections.at(connection);
  std::string log;
  auto update = from.happen(server, now, random, weather, log);
  if (!update) return {};
  if (!update->empty()) {
    update->in_sync = std::ranges::all_of(process_->connections, &Connection::listed);
    process_->from_informers.put(*std::move(update));
  }
  return log.empty() ? log : fmt::format("{} of {}: {}", node_, info(from.kind()).plural, log);
}

void SimulatedAgent::lose_server(Time now) {
  for (auto& connection : process_->connections) static_cast<void>(connection.cut(now));
}

std::string SimulatedAgent::think() {
  auto update = process_->from_informers.take();
  if (!update) return {};
  update->resources.apply_to(process_->known);
  process_->whole |= update->in_sync;
  const auto size = update->resources.size();
  auto step = process_->thinker.take(*update);
  if (step.news) step.news->refused.apply_to(process_->refused);
  if (step.changes) {
    step.changes->apply_to(process_->wanted);
    process_->to_dataplane.put(*std::move(step.changes));
  }
  return fmt::format("{} computes {} changes", node_, size);
}

std::string SimulatedAgent::keep(Random& random, unsigned trouble) {
  nft_.fail_when([&](int) -> std::optional<kernel::nft::SimulatedKernel::Fault> {
    if (!random.percent(trouble)) return std::nullopt;
    return kernel::nft::SimulatedKernel::Fault{kNoMemory, random.percent(50)};
  });
  routes_.fail_when = [&](int) { return random.percent(trouble) ? std::optional(kNoMemory) : std::nullopt; };
  const auto writes = nft_.commits();
  auto changes = process_->to_dataplane.take();
  if (changes) {
    if (process_->whole) {
      in_force_.emplace_back(process_->known, process_->wanted.endpoints,
                             dataplane::assign_interfaces(process_->wanted.host_endpoints, links()));
    }
    process_->behind = true;
    process_->keeper.take(*changes);
  }
  const bool done = process_->keeper.attempt();
  if (done && process_->behind) {
    while (in_force_.size() > 1) in_force_.pop_front();
    process_->behind = false;
  }
  nft_.fail_when({});
  routes_.fail_when = {};
  if (!changes && done && nft_.commits() == writes) return {};
  return fmt::format("{} writes {} transactions{}", node_, nft_.commits() - writes,
                     done ? "" : ": " + process_->keeper.report().error);
}

dataplane::Links SimulatedAgent::links() const {
  dataplane::Links links;
  for (const auto& [index, link] : routes_.link_by_index) links.emplace(link.name, link);
  return links;
}

void SimulatedAgent::lose_table() {
  nft_.drop_table();
  process_->keeper.doubt({.policy = true});
}

std::string SimulatedAgent::turn_link(std::size_t number) {
  auto at = std::next(routes_.link_by_index.begin());
  std::advance(at, static_cast<std::ptrdiff_t>(number % (routes_.link_by_index.size() - 1)));
  auto& link = at->second;
  link.up = !link.up;
  // The kernel takes the routes of a link that falls.
  if (!link.up) {
    for (auto& [protocol, routes] : routes_.routes_by_protocol)
      std::erase_if(routes, [&](const auto& route) { return route.link == link.index; });
  }
  process_->keeper.doubt({.routes = true, .links = {.all = true}});
  return fmt::format("{}: {} is {}", node_, link.name, link.up ? "up" : "down");
}

bool SimulatedAgent::waits(Time now) const {
  return std::ranges::any_of(process_->connections, [&](const auto& each) { return each.waits(now); });
}

}  // namespace ocicat::test
