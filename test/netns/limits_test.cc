// Limits of bandwidth over the real kernel: what is set is read back, and others' traffic control stays.
#include <gtest/gtest.h>

#include "dataplane/limits/bandwidth_table.h"
#include "kernel/queues.h"
#include "netns/testbed.h"

namespace ocicat::test {
namespace {

using dataplane::bucket_of;
using kernel::Passage;
using kernel::Passing;

class Limits : public testing::Test {
 protected:
  // With the queues' door, in the host's namespace.
  void on_host(const std::function<void(kernel::NetlinkQueues&, int link)>& work) {
    bed_.host().run([&] {
      auto queues = kernel::NetlinkQueues::open();
      ASSERT_TRUE(queues);
      auto routes = kernel::NetlinkRoutes::open();
      ASSERT_TRUE(routes);
      const auto links = (*routes)->links();
      ASSERT_TRUE(links);
      const auto link = std::ranges::find(*links, a_.interface(), &kernel::Link::name);
      ASSERT_NE(link, links->end());
      work(**queues, link->index);
    });
  }

  Testbed bed_;
  Station& a_ = bed_.add_pod("a", "10.65.0.2", "fd00:65::2");
};

TEST_F(Limits, AreReadBackAsTheyWereSet) {
  on_host([](kernel::NetlinkQueues& queues, int link) {
    for (const auto passage : kernel::kPassages) {
      const Passing passing{link, passage};
      for (const std::uint64_t rate :
           {1'000UL, 1'000'000UL, 7'654'321UL, 1'000'000'000UL, 400'000'000'000UL, 1'000'000'000'000'000UL}) {
        for (const std::uint64_t burst : {1'000UL, 1'000'000UL, 4'294'967'296UL, 34'359'738'360UL}) {
          for (const std::uint64_t peak : {0UL, rate * 101 / 100, rate * 3}) {
            SCOPED_TRACE(fmt::format("rate {} burst {} peak {}", rate, burst, peak));
            const auto bucket = bucket_of({.rate = rate, .burst = burst, .peak = peak}, 1500);
            const auto done = queues.limit(passing, bucket);
            ASSERT_TRUE(done) << done.error().message;
            const auto same = queues.limits({{passing, bucket}});
            ASSERT_TRUE(same);
            EXPECT_TRUE(same->at(passing).as_wanted && same->at(passing).up);
            auto other = bucket;
            // A burst is told as the time that it takes, which at such rates is next to nothing.
            if (rate > 1'000'000'000) other.rate += other.rate / 2;
            other.burst += other.burst / 2 < 0x7fffffff ? 10'000 : 0U - 10'000'000;
            EXPECT_FALSE(queues.limits({{passing, other}})->at(passing).as_wanted);
          }
        }
      }
      EXPECT_TRUE(queues.remove(passing));
      EXPECT_TRUE(queues.limits({})->empty());
      EXPECT_TRUE(queues.remove(passing));  // once more
    }
  });
}

TEST_F(Limits, TheHookGoesWithTheFilterUnlessItIsSomebodyElses) {
  on_host([&](kernel::NetlinkQueues& queues, int link) {
    const auto there = [&](const std::string& what, const std::string& pattern, int times) {
      shell(fmt::format("test $(tc {} show dev {} {} | grep -c '{}') -eq {}", what, a_.interface(),
                        what == "filter" ? "ingress" : "", pattern, times));
    };
    const Passing passing{link, Passage::kIn};
    const auto limit = [&] {
      ASSERT_TRUE(queues.limit(passing, bucket_of({.rate = 1'000'000, .burst = 1'000'000}, 1500)));
      const auto led = queues.lead(link);
      ASSERT_TRUE(led) << led.error().message;
      EXPECT_EQ(*queues.detour(link), queues.limits({})->at(passing).holder);
    };
    const auto filter = [&] {
      shell(fmt::format(
          "tc filter add dev {} ingress prio 1 u32 match u32 0 0 at 0 action mirred egress mirror dev other",
          a_.interface()));
    };
    shell("ip link add other type ifb");
    limit();
    there("qdisc", "clsact", 1);
    ASSERT_TRUE(queues.release(link));
    there("qdisc", "clsact", 0);
    ASSERT_TRUE(queues.release(link));

    // Somebody's own, with a filter of the same kind.
    shell(fmt::format("tc qdisc add dev {} clsact", a_.interface()));
    filter();
    limit();
    ASSERT_TRUE(queues.release(link));
    there("qdisc", "clsact", 1);
    there("filter", "mirred", 1);

    // Ours, and somebody has begun to use it.
    shell(fmt::format("tc qdisc del dev {} clsact", a_.interface()));
    limit();
    filter();
    ASSERT_TRUE(queues.release(link));
    there("qdisc", "clsact", 1);
    there("filter", "mirred", 1);
  });
}

TEST_F(Limits, AreRefusedWhereSomebodyHasAQueueWhichStays) {
  on_host([&](kernel::NetlinkQueues& queues, int link) {
    shell(
        fmt::format("tc qdisc add dev {} root handle 7: tbf rate 1gbit burst 1mb limit 1mb", a_.interface()));
    const Passing passing{link, Passage::kOut};
    const auto limited = queues.limit(passing, bucket_of({.rate = 1'000'000, .burst = 1'000'000}, 1500));
    ASSERT_FALSE(limited);
    EXPECT_EQ(limited.error().code, ErrorCode::kAlreadyExists);
    EXPECT_TRUE(queues.limits({})->empty());
    EXPECT_TRUE(queues.remove(passing));
    shell(fmt::format("tc qdisc show dev {} | grep -q 'tbf 7:'", a_.interface()));
  });
}

}  // namespace
}  // namespace ocicat::test
