// Copies of routes in the real kernel.
#include "kernel/route_copies.h"

#include <gmock/gmock.h>

#include <string>

#include "base/command.h"
#include "kernel/network_namespace.h"

namespace ocicat::kernel {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

constexpr int kOriginal = 12, kCopies = 81;
constexpr std::uint32_t kMetricOfCopies = 4'000'000'001;

class RouteCopiesTest : public testing::Test {
 protected:
  void SetUp() override {
    ip("-4",
       "link add left type veth peer name left-peer\nlink add right type veth peer name right-peer\n"
       "link set left up\nlink set left-peer up\nlink set right up\nlink set right-peer up\n"
       "address add 10.0.1.1/24 dev left\naddress add 10.0.2.1/24 dev right\n");
    ip("-6", "address add fd00:1::1/64 dev left nodad\naddress add fd00:2::1/64 dev right nodad\n");
  }
  void ip(const char* family, const std::string& lines) {
    network_.run([&] {
      const auto done = run({"ip", family, "-batch", "-"}, lines);
      ASSERT_TRUE(done) << done.error().message;
    });
  }
  std::string shown(int protocol) {
    std::string text;
    network_.run([&] {
      for (const auto* family : {"-4", "-6"})
        text += run({"ip", family, "route", "show", "proto", std::to_string(protocol)}).value();
    });
    return text;
  }
  std::size_t drop(const std::function<bool(const Prefix&)>& unwanted) {
    std::size_t left = 0;
    network_.run([&] {
      const auto dropped = RouteCopies::open(kCopies, kMetricOfCopies)->drop(unwanted);
      ASSERT_TRUE(dropped) << dropped.error().message;
      left = *dropped;
    });
    return left;
  }
  void make() {
    network_.run([&] {
      const auto made = RouteCopies::open(kCopies, kMetricOfCopies)->make(kOriginal);
      ASSERT_TRUE(made) << made.error().message;
    });
  }

  NetworkNamespace network_ = NetworkNamespace::create().value();
};

TEST_F(RouteCopiesTest, LeadTheSameWaysAlsoWhereThereAreSeveral) {
  ip("-4",
     "route add 10.65.1.0/26 via 10.0.1.2 proto 12 metric 1024\n"
     "route add 10.65.2.0/26 proto 12 metric 1024 nexthop via 10.0.1.2 weight 1 nexthop via 10.0.2.2 weight "
     "3\n"
     "route add blackhole 10.65.3.0/26 proto 12\n"
     "route add 10.65.4.0/26 via 10.0.1.2\n");
  ip("-6",
     "route add fd65:1::/64 via fd00:1::2 proto 12 metric 1024\n"
     "route add fd65:2::/64 proto 12 metric 1024 nexthop via fd00:1::2 nexthop via fd00:2::2\n");
  make();
  const auto copies = shown(kCopies);
  EXPECT_THAT(copies, AllOf(HasSubstr("10.65.1.0/26 via 10.0.1.2 dev left metric 4000000001"),
                            HasSubstr("10.65.2.0/26 metric 4000000001"),
                            HasSubstr("nexthop via 10.0.2.2 dev right weight 3"),
                            HasSubstr("fd65:1::/64 via fd00:1::2 dev left metric 4000000001"),
                            HasSubstr("nexthop via fd00:2::2 dev right")));
  EXPECT_THAT(copies, AllOf(Not(HasSubstr("10.65.3.0")), Not(HasSubstr("10.65.4.0"))));
  make();
  EXPECT_EQ(shown(kCopies), copies) << "again";

  ip("-4", "route flush proto 12\n");
  ip("-6", "route flush proto 12\n");
  EXPECT_EQ(shown(kCopies), copies) << "whatever becomes of the originals";
  EXPECT_EQ(drop([](const Prefix& net) { return net.to_string() == "10.65.2.0/26"; }), 3U);
  EXPECT_THAT(shown(kCopies),
              AllOf(Not(HasSubstr("10.65.2.0")), HasSubstr("10.65.1.0"), HasSubstr("fd65:2::")));
  EXPECT_EQ(drop([](const Prefix& /*net*/) { return true; }), 0U);
  EXPECT_EQ(shown(kCopies), "");
}

TEST_F(RouteCopiesTest, OfAWayThatIsDownAreMadeAllTheSame) {
  ip("-4",
     "route add 10.65.2.0/26 proto 12 nexthop via 10.0.1.2 nexthop via 10.0.2.2\n"
     "link set right-peer down\n");
  make();
  EXPECT_THAT(shown(kCopies), AllOf(HasSubstr("via 10.0.1.2 dev left"), HasSubstr("via 10.0.2.2 dev right")));
}

}  // namespace
}  // namespace ocicat::kernel
