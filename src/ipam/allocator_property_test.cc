// Many allocators at once over documents that fail: whatever happens, no address is given twice and none is
// lost, and of the rules that the seed turns on (Rules) none is broken. More than 100,000 operations: a fifth by
// each of the parts, which may run at once. OCICAT_SEED=N runs a failure again; OCICAT_PROPERTY_SECONDS=N has each
// part go on with new seeds for so long.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "ipam/allocator.h"
#include "ipam/simulated_documents.h"
#include "network/address_block.h"
#include "network/ipam_block.h"
#include "test/support/for_seeds.h"
#include "test/support/random.h"

namespace ocicat::ipam {
namespace {

namespace json = boost::json;

constexpr int kActors = 32;
constexpr int kHosts =
    24;  // so some hosts have two allocators, as an agent has for pods and for ends of tunnels

// What holds besides.
struct Rules {
  bool strict_affinity = false;  // a host has addresses of its own blocks alone
  int most_blocks = 0;           // that a host may have of a family; 0: as many as there are
  bool reserved = false;         // some addresses are given to nobody who does not name them
  int cooldown = 0;              // s, until a released address is given again
  bool named = false;            // some ask for addresses by name

  static Rules any(test::Random& random) {
    Rules rules;
    rules.strict_affinity = random.percent(50);
    if (rules.strict_affinity && random.percent(60))
      rules.most_blocks = 1 + static_cast<int>(random.below(3));
    rules.reserved = random.percent(50);
    if (random.percent(50)) rules.cooldown = 4 + static_cast<int>(random.below(8));
    // A block whose address is asked for by name is claimed whatever the limit.
    rules.named = rules.most_blocks == 0 && random.percent(60);
    return rules;
  }
  json::object configuration() const {
    return {{"strictAffinity", strict_affinity},
            {"maxBlocksPerHost", most_blocks},
            {"ipCooldownSeconds", cooldown}};
  }
  std::string to_string() const {
    return fmt::format("strict affinity {}, blocks of a host {}, reservations {}, cool-down {} s, named {}",
                       strict_affinity, most_blocks, reserved, cooldown, named);
  }
};

const std::vector<std::string> kReserved{"10.0.0.16/29", "10.0.0.33/32", "10.0.1.2/31", "fd00::8/126",
                                         "fd00::11/128"};

bool is_reserved(const IpAddress& address) {
  return std::ranges::any_of(kReserved,
                             [&](const auto& cidr) { return Prefix::parse(cidr)->contains(address); });
}

TimePoint time_of(std::int64_t seconds) {
  return TimePoint(std::chrono::seconds(seconds));
}

json::object pool(std::string_view name, std::string_view cidr, int block_size, json::object more = {}) {
  more["cidr"] = cidr;
  more["blockSize"] = block_size;
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "IPPool"},
          {"metadata", json::object{{"name", name}}},
          {"spec", std::move(more)}};
}

// Who runs: with a baton one actor at a time, in an order that the seed decides; without, all as they can.
class Baton {
 public:
  Baton(std::uint64_t seed, int actors) : random_(seed), waiting_(static_cast<std::size_t>(actors)) {
    for (int i = 0; i < actors; ++i) running_.push_back(i);
    turn_ = running_.front();
  }

  void begin(int actor) {
    std::unique_lock lock(mutex_);
    wait(lock, actor);
  }
  void pass(int actor) {
    std::unique_lock lock(mutex_);
    turn_ = running_[random_() % running_.size()];
    if (turn_ == actor) return;
    waiting_[static_cast<std::size_t>(turn_)].notify_one();
    wait(lock, actor);
  }
  void end(int actor) {
    const std::scoped_lock lock(mutex_);
    std::erase(running_, actor);
    if (running_.empty()) return;
    turn_ = running_[random_() % running_.size()];
    waiting_[static_cast<std::size_t>(turn_)].notify_one();
  }

 private:
  void wait(std::unique_lock<std::mutex>& lock, int actor) {
    waiting_[static_cast<std::size_t>(actor)].wait(lock, [&] { return turn_ == actor; });
  }

  std::mutex mutex_;
  std::mt19937_64 random_;
  std::vector<int> running_;
  std::vector<std::condition_variable> waiting_;
  int turn_ = 0;
};

// Who has which address, as those believe who were given them, and when it was last given back.
class Registry {
 public:
  // Nothing, or who has it.
  std::optional<std::string> take(const IpAddress& address, const std::string& handle) {
    const std::scoped_lock lock(mutex_);
    const auto [at, is_new] = owners_.try_emplace(address, handle);
    return is_new ? std::nullopt : std::optional(at->second);
  }
  void drop(const std::vector<IpAddress>& addresses, std::int64_t now) {
    const std::scoped_lock lock(mutex_);
    for (const auto& address : addresses) {
      owners_.erase(address);
      dropped_[address] = now;
    }
  }
  // Not released before then.
  std::optional<std::int64_t> dropped(const IpAddress& address) const {
    const std::scoped_lock lock(mutex_);
    const auto at = dropped_.find(address);
    return at == dropped_.end() ? std::nullopt : std::optional(at->second);
  }
  std::map<IpAddress, std::string> owners() const {
    const std::scoped_lock lock(mutex_);
    return owners_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<IpAddress, std::string> owners_;
  std::map<IpAddress, std::int64_t> dropped_;
};

struct World {
  SharedDocuments documents;
  Registry registry;
  std::atomic<std::int64_t> seconds{1'700'000'000};
  std::atomic<std::size_t> given{0}, exhausted{0}, failed{0}, crashes{0}, restarts{0};
};

struct Plan {
  Faults faults;
  int operations = 0;  // of each actor
  Rules rules;
};

class Actor {
 public:
  Actor(World& world, const Plan& plan, int number, std::uint64_t seed, std::function<void()> between)
      : world_(world),
        plan_(plan),
        number_(number),
        random_(seed * 1000 + static_cast<std::uint64_t>(number)),
        host_("host" + std::to_string(number % kHosts)),
        between_(std::move(between)) {
    start(plan.faults);
  }

  void run() {
    for (int i = 0; i < plan_.operations; ++i) {
      if (random_.percent(10)) ++world_.seconds;  // an assignment takes a few
      try {
        step();
      } catch (const Crash&) {
        ++world_.crashes;
        start(plan_.faults);
      }
    }
  }

  // What the runtime does with containers of which it does not know how far they came.
  void settle() {
    start({});
    for (const auto& handle : unsure_) ASSERT_TRUE(allocator_->release(handle)) << handle;
    unsure_.clear();
  }
  void release_all() {
    for (const auto& [handle, addresses] : live_) {
      const auto released = allocator_->release(handle);
      ASSERT_TRUE(released) << released.error().message;
      EXPECT_EQ(std::set(released->addresses.begin(), released->addresses.end()),
                std::set(addresses.begin(), addresses.end()))
          << handle;
    }
  }
  const std::map<std::string, std::vector<IpAddress>>& live() const { return live_; }

 private:
  void start(Faults faults) {
    ++world_.restarts;
    documents_ =
        std::make_unique<SimulatedDocuments>(world_.documents, random_.below(1'000'000), faults, between_);
    allocator_ = std::make_unique<Allocator>(
        *documents_, Allocator::Options{[this] { return time_of(world_.seconds); },
                                        static_cast<std::uint32_t>(random_.below(1'000'000))});
  }

  void step() {
    if (!unsure_.empty() && random_.percent(60)) {
      const auto handle = *unsure_.begin();
      if (allocator_->release(handle)) unsure_.erase(handle);
    } else if (random_.percent(2)) {
      start(plan_.faults);  // an agent that is restarted in peace
    } else if (random_.percent(3)) {
      put_a_handle_right();
    } else if (live_.size() < 6 && (live_.size() < 2 || random_.percent(55))) {
      assign();
    } else if (!live_.empty()) {
      auto at = live_.begin();
      std::advance(at, random_.below(live_.size()));
      const auto handle = at->first;
      world_.registry.drop(at->second, world_.seconds);
      live_.erase(at);
      unsure_.insert(handle);
      if (allocator_->release(handle)) unsure_.erase(handle);
    }
  }

  // As the reconciler does, whatever others do with it meanwhile.
  void put_a_handle_right() {
    const auto handles = world_.documents.list(Kind::kIpamHandle);
    if (handles.empty()) return;
    const auto handle = decode_handle(random_.pick(handles));
    ASSERT_TRUE(handle);
    std::ignore = allocator_->correct(std::span(&handle->value.id, 1));
  }

  void assign() {
    const std::size_t count = 1 + (random_.percent(20) ? random_.below(4) : 0);
    std::vector<AssignRequest> requests;
    for (std::size_t i = 0; i < count; ++i) {
      auto& request = requests.emplace_back();
      request.host = host_;
      request.handle = a_handle();
      request.attributes = {{"node", host_}, {"pod", request.handle}};
      request.ipv4 = 1 + static_cast<int>(random_.percent(10) ? random_.below(3) : 0);
      request.ipv6 = random_.percent(30) ? 1 : 0;
      if (plan_.rules.named && random_.percent(8)) {
        request.addresses = {an_address()};
        request.ipv4 = 0;
      }
      unsure_.insert(request.handle);
    }
    const auto answers = allocator_->assign(requests);
    for (std::size_t i = 0; i < count; ++i) {
      const auto& handle = requests[i].handle;
      if (!answers[i]) {
        ++(answers[i].error().code == ErrorCode::kExhausted ? world_.exhausted : world_.failed);
        continue;
      }
      unsure_.erase(handle);
      auto& addresses = live_[handle];
      for (const auto& item : answers[i]->items) {
        ++world_.given;
        addresses.push_back(item.address);
        const auto other = world_.registry.take(item.address, handle);
        EXPECT_FALSE(other) << item.address.to_string() << " was given to " << handle << " and to " << *other;
        check_rules(requests[i], item);
      }
    }
    check_limit();
  }

  // As pods have them, one of its own each; or the one that an end of a tunnel has again and again.
  std::string a_handle() {
    const auto end = fmt::format("tunnel-{}", number_);
    if (random_.percent(10) && !live_.contains(end) && !unsure_.contains(end)) return end;
    return fmt::format("net.{}-{}", number_, ++made_);
  }
  // Of a pool at random, or beside one that it has.
  IpAddress an_address() {
    auto number = 0x0a000000U + static_cast<std::uint32_t>(random_.below(320));
    if (!live_.empty() && random_.percent(50)) {
      const auto& mine = live_.begin()->second.front();
      if (mine.family() == Family::kIpv4)
        number = mine.v4_value() ^ static_cast<std::uint32_t>(random_.below(8));
    }
    return IpAddress::v4(number);
  }

  void check_rules(const AssignRequest& request, const Assigned::Item& item) const {
    const auto text = item.address.to_string();
    const bool is_named = !request.addresses.empty() && request.addresses.front() == item.address;
    EXPECT_FALSE(plan_.rules.reserved && !is_named && is_reserved(item.address))
        << text << " is reserved, and was given to " << request.handle;
    const auto free_from = world_.registry.dropped(item.address).value_or(0) + plan_.rules.cooldown;
    EXPECT_GE(world_.seconds, free_from) << text << " was given before it had cooled down";
    if (!plan_.rules.strict_affinity) return;
    const auto document = world_.documents.get(block_key(item.block));
    ASSERT_TRUE(document) << text << " is of no block";
    const auto owner = decode_block(*document)->value.affinity;
    EXPECT_TRUE(owner && owner->name == host_)
        << text << " was given to " << request.handle << " of " << host_;
  }
  // At any time.
  void check_limit() const {
    if (plan_.rules.most_blocks == 0) return;
    int v4 = 0, v6 = 0;
    for (const auto& document : world_.documents.list(Kind::kIpamBlock)) {
      const auto& spec = document.at("spec").as_object();
      const auto* owner = spec.if_contains("affinity");
      if (owner == nullptr || *owner != json::value("host:" + host_)) continue;
      ++(spec.at("cidr").as_string().find(':') != json::string::npos ? v6 : v4);
    }
    EXPECT_LE(v4, plan_.rules.most_blocks) << host_;
    EXPECT_LE(v6, plan_.rules.most_blocks) << host_;
  }

  World& world_;
  const Plan plan_;
  const int number_;
  test::Random random_;
  const std::string host_;
  const std::function<void()> between_;
  std::unique_ptr<SimulatedDocuments> documents_;
  std::unique_ptr<Allocator> allocator_;
  int made_ = 0;
  std::map<std::string, std::vector<IpAddress>> live_;
  std::set<std::string> unsure_;  // may have addresses
};

// Every address of every block: given to who believes to have it, or free and in its block's list, once.
void check_addresses(const World& world) {
  auto owners = world.registry.owners();
  for (const auto& document : world.documents.list(Kind::kIpamBlock)) {
    const auto stored = decode_block(document);
    ASSERT_TRUE(stored) << stored.error().message;
    const IpamBlock& block = stored->value;
    EXPECT_EQ(document.at("spec").at("unallocated").as_array().size(), block.unallocated.size());
    for (IpamBlock::Ordinal ordinal = 0; ordinal < block.size(); ++ordinal) {
      const auto address = address_at(block.cidr, ordinal);
      const auto* attribute = network::attribute_of(block, ordinal);
      const auto at = owners.find(address);
      if (at != owners.end()) {
        ASSERT_TRUE(attribute != nullptr && attribute->handle) << address.to_string() << " of " << at->second;
        EXPECT_EQ(*attribute->handle, at->second);
        owners.erase(at);
      } else if (attribute != nullptr && !attribute->released_at) {
        const auto handle = attribute->handle.value_or("nothing");
        const bool is_live = std::ranges::any_of(world.registry.owners(),
                                                 [&](const auto& one) { return one.second == handle; });
        ADD_FAILURE() << address.to_string() << " is lost: under " << handle
                      << (is_live ? ", which has others" : ", which nobody has");
      } else {
        EXPECT_EQ(attribute == nullptr, network::is_free(block, ordinal));
      }
    }
  }
  ASSERT_TRUE(owners.empty()) << owners.begin()->second << " has " << owners.begin()->first.to_string()
                              << ", which no block knows of";
}

// Handles say what there is. Where answers were lost some say more, until they are put right.
void check_handles(World& world) {
  std::map<std::string, std::map<Prefix, int>> there;
  for (const auto& document : world.documents.list(Kind::kIpamBlock)) {
    const auto block = decode_block(document);
    for (const auto& [address, handle] : world.registry.owners()) {
      if (block->value.cidr.contains(address)) ++there[handle][block->value.cidr];
    }
  }
  const auto said = [&] {
    std::map<std::string, std::map<Prefix, int>> all;
    for (const auto& document : world.documents.list(Kind::kIpamHandle)) {
      const auto handle = decode_handle(document);
      all[handle->value.id] = handle->value.blocks;
    }
    return all;
  };
  auto before = said();
  std::vector<std::string> handles;
  for (const auto& [handle, blocks] : before) handles.push_back(handle);
  for (const auto& [handle, blocks] : there) {
    for (const auto& [cidr, count] : blocks)
      EXPECT_GE(before[handle][cidr], count) << handle << " says less than it has of " << cidr.to_string();
  }
  SimulatedDocuments documents(world.documents, 1);
  Allocator allocator(documents);
  for (const auto& corrected : allocator.correct(handles)) ASSERT_TRUE(corrected);
  EXPECT_EQ(said(), there);
}

void run(std::uint64_t seed, const Plan& plan, bool in_turns) {
  World world;
  const auto put = [&](json::object object) {
    SimulatedDocuments documents(world.documents, 1);
    ASSERT_TRUE(documents.create(std::move(object)));
  };
  // Nearly full, but for those who are to reach their limit first.
  const bool limited = plan.rules.most_blocks > 0;
  put(pool("a", limited ? "10.0.0.0/24" : "10.0.0.0/25", limited ? 30 : 29));
  put(pool("b", "10.0.1.0/26", limited ? 31 : 30));
  put(pool("six", limited ? "fd00::/120" : "fd00::/122", 126));
  put({{"apiVersion", "projectcalico.org/v3"},
       {"kind", "IPAMConfiguration"},
       {"metadata", json::object{{"name", "default"}}},
       {"spec", plan.rules.configuration()}});
  if (plan.rules.reserved) {
    put({{"apiVersion", "projectcalico.org/v3"},
         {"kind", "IPReservation"},
         {"metadata", json::object{{"name", "some"}}},
         {"spec", json::object{{"reservedCIDRs", json::array(kReserved.begin(), kReserved.end())}}}});
  }
  Baton baton(seed, kActors);
  std::vector<std::unique_ptr<Actor>> actors;
  for (int i = 0; i < kActors; ++i) {
    // While the world is made, nobody has the baton.
    auto between = in_turns ? std::function<void()>([&baton, i] { baton.pass(i); }) : std::function<void()>();
    actors.push_back(std::make_unique<Actor>(world, plan, i, seed, std::move(between)));
  }
  std::vector<std::thread> threads;
  for (int i = 0; i < kActors; ++i) {
    threads.emplace_back([&, i] {
      if (in_turns) baton.begin(i);
      actors[static_cast<std::size_t>(i)]->run();
      actors[static_cast<std::size_t>(i)]->settle();
      if (in_turns) baton.end(i);
    });
  }
  for (auto& thread : threads) thread.join();
  world.documents.land();
  check_addresses(world);
  check_handles(world);
  EXPECT_GT(world.given, static_cast<std::size_t>(plan.operations));
  EXPECT_GT(world.crashes, 0U);
  std::printf("%s\n", plan.rules.to_string().c_str());
  std::printf("given %zu, exhausted %zu, failed %zu, crashes %zu, writes %zu\n", world.given.load(),
              world.exhausted.load(), world.failed.load(), world.crashes.load(), world.documents.writes());
}

constexpr Faults kFaults{.refused = 2, .lost = 4, .conflict = 10, .crash = 2, .late = 500};

constexpr int kParts = 5;
constexpr int kStepsOfPart = 640;
static_assert(kParts * kStepsOfPart * kActors > 100'000);

class AllocatorProperty : public testing::TestWithParam<int> {};

TEST_P(AllocatorProperty, NoAddressIsGivenTwiceOrLostNorARuleBrokenWhateverTheOrder) {
  test::for_seeds(1, [](std::uint64_t seed) {
    const auto own = seed * kParts + static_cast<std::uint64_t>(GetParam());
    test::Random random(own);
    run(own, {kFaults, kStepsOfPart, Rules::any(random)}, true);
    return !HasFailure();
  });
}

INSTANTIATE_TEST_SUITE_P(Parts, AllocatorProperty, testing::Range(0, kParts));

TEST(AllocatorByThreadsProperty, NoAddressIsGivenTwiceOrLostNorARuleBroken) {
  test::for_seeds(1, [](std::uint64_t seed) {
    test::Random random(seed);
    run(seed, {kFaults, 600, Rules::any(random)}, false);
    return !HasFailure();
  });
}

}  // namespace
}  // namespace ocicat::ipam
