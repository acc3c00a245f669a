#include "dataplane/routes/hop_table.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "dataplane/routes/route_plan.h"
#include "test/support/random.h"

namespace ocicat::dataplane {
namespace {

IpAddress gateway(std::uint32_t number) {
  return IpAddress::v4(0x0A640000U + number);
}

TEST(HopTable, GivesNoNumberTwiceNorOneThatIsThere) {
  HopTable table;
  table.learn({{kFirstHop + 1, 4, gateway(1)}, {kFirstHop + 3}});
  std::set<std::uint32_t> given;
  for (std::uint32_t i = 0; i < 5; ++i) EXPECT_TRUE(given.insert(table.next(4, gateway(9)).number).second);
  EXPECT_EQ(given, (std::set{kFirstHop, kFirstHop + 2, kFirstHop + 4, kFirstHop + 5, kFirstHop + 6}));
}

TEST(HopTable, KnowsOneOfThoseThatLeadTheSameWayAndNoneOfAnotherKind) {
  HopTable table;
  table.add({7, 4, gateway(1)});
  table.add({8, 4, gateway(1)});
  table.add({9});
  EXPECT_EQ(table.leading(4, gateway(1)), 7U);
  EXPECT_EQ(table.leading(5, gateway(1)), 0U);
  EXPECT_EQ(table.leading(0, IpAddress()), 0U);
  table.remove({8, 4, gateway(1)});
  EXPECT_EQ(table.leading(4, gateway(1)), 7U);
  table.remove({7, 4, gateway(1)});
  EXPECT_EQ(table.leading(4, gateway(1)), 0U);
  EXPECT_NE(table.find(9), nullptr);
  EXPECT_EQ(table.find(7), nullptr);
}

// With an object that is taken to be nobody's the kernel would remove routes.
TEST(KnownRoutes, PropertySayOfEveryObjectWhetherAnyIsByIt) {
  const auto seed = test::any_seed();
  SCOPED_TRACE(fmt::format("OCICAT_SEED={}", seed));
  test::Random random(seed);
  const auto below = [&](std::size_t bound) { return static_cast<std::uint32_t>(random.below(bound)); };
  KnownRoutes known;
  std::set<kernel::KernelRoute> there;
  for (int round = 0; round < 5'000; ++round) {
    kernel::KernelRoute route{{IpAddress::v4(0x0A410000U + below(4) * 64), 26}, 4, gateway(1), kRouteMetric};
    route.object = below(4);
    if (below(50) == 0) {
      if (below(2) == 0) there.erase(route);
      known.learn({there.begin(), there.end()});
    } else if (below(2) == 0) {
      there.insert(route);
      known.add(route);
    } else {
      there.erase(route);
      known.remove(route);
    }
    for (std::uint32_t object = 1; object < 4; ++object) {
      const bool any = std::ranges::any_of(there, [&](const auto& one) { return one.object == object; });
      ASSERT_EQ(known.any_by(object), any) << "round " << round;
    }
    ASSERT_FALSE(known.any_by(0));
  }
}

}  // namespace
}  // namespace ocicat::dataplane
