#include "dataplane/ebpf/net_image.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <memory>
#include <vector>

#include "dataplane/ebpf/address_image.h"
#include "test/support/random.h"

namespace ocicat::dataplane::ebpf {
namespace {

using policy::ClassId;
using Nets = NetImage::Nets;
using NetsByFamily = std::map<Family, Nets>;

// All nets looked at, one by one.
std::uint32_t slow_class_of(const Nets& nets, const IpAddress& address) {
  int longest = -1;
  ClassId found{};
  for (const auto& [net, id] : nets) {
    if (!net.contains(address) || net.length <= longest) continue;
    longest = net.length;
    found = id;
  }
  return static_cast<std::uint32_t>(found);
}

class NetImageTest : public testing::Test {
 protected:
  std::uint32_t class_of(const IpAddress& address) const {
    const auto there = address_of(address);
    return bpf::net_class_of(memory_.get(), &there, static_cast<std::uint32_t>(host_.batch & 1));
  }
  std::uint32_t class_of(const char* text) const { return class_of(*IpAddress::parse(text)); }
  Result<void> resync(NetImage& image, Step& step) {
    return image.resync(wanted_[Family::kIpv4], wanted_[Family::kIpv6], step);
  }
  // As an agent that starts now.
  void start() {
    image_ = std::make_unique<NetImage>(NetMemory::of(*memory_));
    Step step(host_);
    ASSERT_TRUE(resync(*image_, step));
    ASSERT_TRUE(step.finish());
  }
  void set(const char* net, std::optional<unsigned> id) { set(Prefix::parse(net)->masked(), id); }
  void set(const Prefix& net, std::optional<unsigned> id) {
    auto& nets = wanted_[net.family()];
    nets.erase(net);
    if (id) nets.emplace(net, ClassId{*id});
    changed_[net.family()].insert(net);
  }
  Result<void> update(Step& step) {
    for (const auto& [family, nets] : std::exchange(changed_, {}))
      TRY_VOID(image_->update(family, wanted_[family], nets, step));
    return {};
  }
  void apply() {
    Step step(host_);
    ASSERT_TRUE(update(step));
    ASSERT_TRUE(step.finish());
  }

  const std::uint64_t seed_ = test::any_seed();
  testing::ScopedTrace trace_{__FILE__, __LINE__, fmt::format("OCICAT_SEED={}", seed_)};
  test::Random random_{seed_};
  std::unique_ptr<bpf::nets> memory_ = std::make_unique<bpf::nets>();
  bpf::host host_{};
  std::unique_ptr<NetImage> image_;
  NetsByFamily wanted_;
  std::map<Family, std::set<Prefix>> changed_;
};

TEST_F(NetImageTest, SaysTheClassOfTheLongestNet) {
  start();
  set("0.0.0.0/0", 1);
  set("10.0.0.0/8", 2);
  set("10.1.0.0/16", 3);
  set("10.1.2.0/24", 4);
  set("10.1.2.3/32", 5);
  set("255.255.255.255/32", 6);
  set("2001:db8::/32", 7);
  set("2001:db8:1:2::/64", 8);
  set("2001:db8:1:2::/128", 9);
  apply();
  EXPECT_EQ(class_of("9.255.255.255"), 1U);
  EXPECT_EQ(class_of("10.255.255.255"), 2U);
  EXPECT_EQ(class_of("10.1.3.0"), 3U);
  EXPECT_EQ(class_of("10.1.2.2"), 4U);
  EXPECT_EQ(class_of("10.1.2.3"), 5U);
  EXPECT_EQ(class_of("255.255.255.255"), 6U);
  EXPECT_EQ(class_of("2001:db8::1"), 7U);
  EXPECT_EQ(class_of("2001:db8:1:2::1"), 8U);
  EXPECT_EQ(class_of("2001:db8:1:2::"), 9U);
  EXPECT_EQ(class_of("2001:db9::"), 0U);
}

TEST_F(NetImageTest, LetsNoNetOfOneFamilyAnswerForTheOther) {
  start();
  for (const auto* net : {"::/0", "::/1", "::/8", "::/64", "::/80", "::fffe:0:0/96"}) set(net, 1);
  apply();
  for (const auto* address : {"0.0.0.0", "10.0.0.1", "255.255.255.255"}) EXPECT_EQ(class_of(address), 0U);
  set("0.0.0.0/0", 2);
  set("::/0", std::nullopt);
  apply();
  EXPECT_EQ(class_of("10.0.0.1"), 2U);
  EXPECT_EQ(class_of("::1"), 1U);
  EXPECT_EQ(class_of("ffff::"), 0U);
}

TEST_F(NetImageTest, WritesNothingForWhatIsThereAlready) {
  start();
  for (unsigned i = 0; i < 500; ++i) {
    set(Prefix{IpAddress::v4(0x0a000000 + (i << 7)), static_cast<std::uint8_t>(20 + i % 13)}.masked(), i);
    set(fmt::format("2001:db8:{:x}::/{}", i, 40 + i % 60).c_str(), i);
  }
  apply();
  NetImage again(NetMemory::of(*memory_));
  Step step(host_);
  ASSERT_TRUE(resync(again, step));
  EXPECT_FALSE(step.shows_something());
  EXPECT_EQ(step.writes(), 0U);
}

TEST_F(NetImageTest, IsMadeAnewWhereSomebodyHasWrittenIntoIt) {
  start();
  for (unsigned i = 0; i < 100; ++i) set(Prefix{IpAddress::v4(0x0a000000 + (i << 8)), 28}, i + 1);
  apply();
  // A tree that leads to itself, and one that leads out of the map.
  auto& root = memory_->roots[10 << 6][host_.batch & 1];
  ASSERT_NE(root.below, 0U);
  const auto first = root.place >> bpf::NET_PLACE_SHIFT;
  for (const auto children : {first, std::uint32_t{bpf::NET_NODES_MAX} - 1, 0U}) {
    auto& child = memory_->nodes[first];
    child.place = children << bpf::NET_PLACE_SHIFT | (child.place & NET_BITS_MASK);
    child.below = 7;
    start();
    for (unsigned i = 0; i < 100; ++i) EXPECT_EQ(class_of(IpAddress::v4(0x0a000000 + (i << 8))), i + 1);
  }
}

TEST_F(NetImageTest, SaysSoWhereNetsDoNotFitAndLeavesWhatWasInForce) {
  start();
  set("192.0.2.0/24", 1);
  apply();
  auto& many = wanted_[Family::kIpv4];
  const auto before = many;
  std::set<Prefix> changed;
  // Each has a node of its own.
  for (std::uint32_t i = 0; i <= bpf::NET_NODES_MAX; ++i) {
    const Prefix net{IpAddress::v4(0x40000000 + (i << 12)), 24};
    many.emplace_hint(many.end(), net, ClassId{2});
    changed.insert(changed.end(), net);
  }
  Step step(host_);
  const auto done = image_->update(Family::kIpv4, many, changed, step);
  ASSERT_FALSE(done);
  EXPECT_EQ(done.error().code, ErrorCode::kExhausted);
  EXPECT_EQ(class_of("192.0.2.1"), 1U);
  EXPECT_EQ(class_of("64.0.0.1"), 0U);
  many = before;
  Step again(host_);
  ASSERT_TRUE(resync(*image_, again));
  EXPECT_FALSE(again.shows_something());
  set("198.51.100.0/24", 3);
  apply();
  EXPECT_EQ(class_of("198.51.100.1"), 3U);
}

TEST_F(NetImageTest, WritesForOneAddressOfManyNoMoreThanTheNodesAboveIt) {
  start();
  for (unsigned i = 0; i < 200'000; ++i) set(Prefix::host(IpAddress::v4(0x0a000000 + i)), i % 1'000);
  Step first(host_);
  ASSERT_TRUE(update(first));
  ASSERT_TRUE(first.finish());
  for (const unsigned at : {0U, 77'777U, 199'999U}) {
    set(Prefix::host(IpAddress::v4(0x0a000000 + at)), 5'000);
    Step step(host_);
    ASSERT_TRUE(update(step));
    ASSERT_TRUE(step.finish());
    EXPECT_LE(step.writes(), 64U * 3 + 4);  // classes, nodes beside two of those above, root, batch
    EXPECT_EQ(class_of(IpAddress::v4(0x0a000000 + at)), 5'000U);
  }
  EXPECT_LE(image_->places_in_use(), 200'000U + 200'000 / 64 * 2);
}

TEST_F(NetImageTest, GivesBackAllThatItTook) {
  start();
  for (std::uint32_t round = 0; round < 20; ++round) {
    for (std::uint32_t i = 0; i < 5'000; ++i) set(Prefix{IpAddress::v4(0x40000000 + (i << 12)), 25}, round);
    for (unsigned i = 0; i < 64; ++i) set(Prefix{IpAddress::v4(0x0a000000 + i), 32}, i + 64 * round);
    apply();
    for (const auto& [net, unused] : Nets(wanted_[Family::kIpv4])) set(net, std::nullopt);
    apply();
  }
  NetImage fresh(NetMemory::of(*memory_));
  Step step(host_);
  ASSERT_TRUE(resync(fresh, step));
  EXPECT_EQ(image_->places_in_use(), 0U);
  EXPECT_EQ(class_of("64.0.0.1"), 0U);
}

// Random nets come, go and change; looks in between, before and after each step shows, and at both sides.
class RandomNets : public NetImageTest {
 protected:
  IpAddress some_v4() {
    switch (random_.below(4)) {
      case 0:
        return IpAddress::v4(static_cast<std::uint32_t>(random_.below(std::size_t{1} << 32)));
      case 1:
        return IpAddress::v4(random_.percent(50) ? 0 : ~0U);
      case 2:
        return IpAddress::v4(0x0a000000 + static_cast<std::uint32_t>(random_.below(4'096)));
      default:
        return IpAddress::v4(
            0x0a000000 +
            static_cast<std::uint32_t>(random_.below(4) << 22 | random_.below(8) << 12 | random_.below(64)));
    }
  }
  IpAddress some_v6() {
    IpAddress::Bytes bytes{};
    const auto kind = random_.below(5);
    for (std::size_t i = 0; i < bytes.size(); ++i) {
      const auto any = static_cast<std::uint8_t>(random_.below(256));
      if (kind == 0) bytes.at(i) = random_.percent(50) ? 0 : 0xff;
      if (kind == 1 && i >= 10) bytes.at(i) = any;
      if (kind >= 2) bytes.at(i) = random_.percent(25) ? any : i < 2 ? 0x20 : 0;
    }
    const auto address = IpAddress::v6(bytes);
    return address.is_v4() ? IpAddress() : address;
  }
  IpAddress some_address(Family family) { return family == Family::kIpv4 ? some_v4() : some_v6(); }
  Prefix some_net(Family family) {
    const auto bits = static_cast<std::size_t>(bits_of(family));
    const auto length = random_.percent(25) ? random_.below(bits + 1) : bits - random_.below(bits / 2);
    return Prefix{some_address(family), static_cast<std::uint8_t>(length)}.masked();
  }
  // One of a net's, or beside it.
  IpAddress near(const Prefix& net) {
    const auto at = random_.percent(50) ? net.first() : net.last();
    const auto beside = random_.percent(50) ? at.next() : at.previous();
    return beside && random_.percent(30) ? *beside : at;
  }
  const Prefix& pick_net(const Nets& nets) {
    return std::next(nets.begin(), static_cast<std::ptrdiff_t>(random_.below(nets.size())))->first;
  }
  void expect(NetsByFamily& wanted, const char* when) {
    for (int i = 0; i < 60; ++i) {
      const auto family = random_.percent(50) ? Family::kIpv4 : Family::kIpv6;
      const auto& nets = wanted[family];
      const auto address = nets.empty() || random_.percent(30) ? some_address(family) : near(pick_net(nets));
      if (address.family() != family) continue;
      ASSERT_EQ(class_of(address), slow_class_of(nets, address)) << when << ": " << address.to_string();
    }
  }
  void change() {
    const auto family = random_.percent(50) ? Family::kIpv4 : Family::kIpv6;
    if (random_.percent(1)) {
      for (const auto& [net, unused] : Nets(wanted_[family])) set(net, std::nullopt);
    }
    for (auto left = random_.percent(5) ? 200 : 1 + random_.below(6); left > 0; --left) {
      const auto& nets = wanted_[family];
      const auto net = nets.empty() || random_.percent(50) ? some_net(family) : Prefix(pick_net(nets));
      if (net.family() != family) continue;
      const auto id = static_cast<unsigned>(random_.below(ids_));
      set(net, random_.percent(40) ? std::nullopt : std::optional(id));
    }
  }

  std::size_t ids_ = 5;
};

// Few classes stand in the nodes themselves, many beside them.
TEST_F(RandomNets, SayWhatEachNetLookedAtWouldSay) {
  start();
  for (int round = 0; round < 300; ++round) {
    auto before = wanted_;
    ids_ = random_.percent(50) ? 3 : 30;
    change();
    Step step(host_);
    ASSERT_TRUE(update(step));
    expect(before, "before it shows");
    if (random_.percent(4)) {  // stopped there
      wanted_ = before;
      start();
      expect(wanted_, "mended");
      continue;
    }
    ASSERT_TRUE(step.finish());
    expect(wanted_, "after it shows");
    ++host_.batch;
    expect(wanted_, "on the other side");
    if (HasFatalFailure()) return;
    if (!random_.percent(5)) continue;
    NetsByFamily shown;
    for (const auto& [net, id] : nets_in(*memory_, host_.batch & 1)) shown[net.family()].emplace(net, id);
    expect(shown, "as it is shown to people");
    NetImage fresh(NetMemory::of(*memory_));
    Step look(host_);
    ASSERT_TRUE(resync(fresh, look));
    EXPECT_EQ(image_->places_in_use(), fresh.places_in_use());
  }
}

TEST(AddressImageTest, TellsWhatMovedSinceAllWasWanted) {
  const auto memory = std::make_unique<bpf::nets>();
  bpf::host host{};
  AddressImage image(NetMemory::of(*memory));
  const auto net = [](const char* text) { return *Prefix::parse(text); };
  image.want_all({{net("10.0.0.0/8"), ClassId{5}}});  // of before
  image.want_all(
      {{net("10.0.0.1/32"), ClassId{1}}, {net("10.0.0.2/32"), ClassId{1}}, {net("fd00::/64"), ClassId{2}}});
  EXPECT_TRUE(image.moves().empty());
  Step step(host);
  ASSERT_TRUE(image.resync(step));
  ASSERT_TRUE(step.finish());
  const auto shown = nets_in(*memory, host.batch & 1);
  EXPECT_EQ(shown.at(net("10.0.0.2/32")), ClassId{1});
  EXPECT_FALSE(shown.contains(net("10.0.0.0/8")));
  Changes<Prefix, ClassId> changes;
  changes.update(net("10.0.0.1/32"), ClassId{2});
  changes.remove(net("fd00::/64"));
  image.want(changes);
  using Moves = std::set<std::pair<ClassId, ClassId>>;
  EXPECT_EQ(image.moves(), (Moves{{ClassId{1}, ClassId{2}}, {ClassId{2}, ClassId{}}}));
  EXPECT_TRUE(image.is_kept(ClassId{1}));
  EXPECT_TRUE(image.is_kept(ClassId{2}));
  EXPECT_FALSE(image.is_kept(ClassId{5}));
  changes.clear();
  changes.remove(net("10.0.0.2/32"));
  image.want(changes);
  EXPECT_FALSE(image.is_kept(ClassId{1}));
}

}  // namespace
}  // namespace ocicat::dataplane::ebpf
