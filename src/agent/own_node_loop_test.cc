// The loop over the real server, in a network namespace with addresses of its own.
#include "agent/own_node_loop.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json.hpp>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "api/client/test_server.h"
#include "base/command.h"
#include "kernel/host_addresses.h"
#include "kernel/network_namespace.h"

namespace ocicat::agent {
namespace {

namespace json = boost::json;
using testing::HasSubstr;

constexpr std::chrono::seconds kPatienceOfTest{60};

json::object pool_document(std::string_view cidr) {
  return {{"apiVersion", "projectcalico.org/v3"},
          {"kind", "IPPool"},
          {"metadata", json::object{{"name", "p"}}},
          {"spec", json::object{{"cidr", cidr}, {"vxlanMode", "Always"}}}};
}

class OwnNodeLoopTest : public testing::Test {
 protected:
  OwnNodeLoopTest() : network_(kernel::NetworkNamespace::create().value()) {}
  ~OwnNodeLoopTest() override { stop(); }

  void ip(const std::string& lines) {
    network_.run([&] {
      const auto done = run({"ip", "-batch", "-"}, lines);
      EXPECT_TRUE(done) << done.error().message;
    });
  }
  void start() {
    network_.run([&] {
      loop_.emplace("a", server_.address(), [&](std::string trouble) {
        const std::scoped_lock lock(mutex_);
        troubles_.push_back(std::move(trouble));
        told_.notify_all();
      });
    });
    informers_.emplace(server_.address(), std::vector{Kind::kIpPool, Kind::kNode},
                       [&](const api::Update& update) { loop_->learn(update); });
  }
  void stop() {
    informers_.reset();
    loop_.reset();
  }
  // Waits until it has told of so many changes; the last.
  std::string told(std::size_t times) {
    std::unique_lock lock(mutex_);
    EXPECT_TRUE(told_.wait_for(lock, kPatienceOfTest, [&] { return troubles_.size() >= times; }));
    return troubles_.empty() ? "nothing was told" : troubles_.back();
  }
  // Waits until the Node holds what is asked of it.
  void eventually(const std::function<bool(const json::object& spec)>& holds) {
    const auto deadline = std::chrono::steady_clock::now() + kPatienceOfTest;
    while (true) {
      const auto node = client_.get(kNode);
      if (node && holds(node->at("spec").as_object())) return;
      ASSERT_LT(std::chrono::steady_clock::now(), deadline) << (node ? json::serialize(*node) : "no Node");
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
    }
  }

  const ResourceKey kNode{Kind::kNode, "", "a"};
  kernel::NetworkNamespace network_;
  api::TestServer server_;
  api::Client client_ = server_.client();
  std::mutex mutex_;
  std::condition_variable told_;
  std::vector<std::string> troubles_;
  std::optional<OwnNodeLoop> loop_;
  std::optional<api::Informers> informers_;
};

TEST_F(OwnNodeLoopTest, MakesTheNodeWithTheAddressesOfItsNetworkNamespaceAndGivesItsTunnelAnAddress) {
  ip("link set lo up\nlink add up0 type veth peer name up1\nlink set up0 up\nlink set up1 up\n"
     "addr add 203.0.113.7/24 dev up0\naddr add 2001:db8:7::7/64 dev up0 nodad\n");
  ASSERT_TRUE(client_.create(pool_document("10.0.1.0/24")));
  start();
  eventually([](const json::object& spec) {
    return spec.at("bgp").at("ipv4Address") == "203.0.113.7/24" &&
           spec.at("bgp").at("ipv6Address") == "2001:db8:7::7/64" && spec.contains("ipv4VXLANTunnelAddr");
  });
}

TEST_F(OwnNodeLoopTest, TellsOnceWhatIsWrongAndOnceThatItIsRight) {
  ip("link set lo up\n");
  start();
  EXPECT_THAT(told(1), HasSubstr("no address that others could know it by"));
  ip("link add up0 type veth peer name up1\nlink set up0 up\nlink set up1 up\naddr add 203.0.113.7/24 dev "
     "up0\n");
  EXPECT_EQ(told(2), "");
  EXPECT_TRUE(client_.get(kNode));
  const std::scoped_lock lock(mutex_);
  EXPECT_EQ(troubles_.size(), 2U);
}

TEST_F(OwnNodeLoopTest, TellsThatSomebodyChangesTheNodeAllTheTimeUntilHeNoLongerDoes) {
  json::object node{{"apiVersion", "projectcalico.org/v3"},
                    {"kind", "Node"},
                    {"metadata", json::object{{"name", "a"}}},
                    {"spec", json::object{{"bgp", json::object{{"ipv4Address", "203.0.113.7/24"}}}}}};
  ASSERT_TRUE(client_.create(node));
  ASSERT_TRUE(client_.create(pool_document("10.0.1.0/24")));
  std::jthread other([&](const std::stop_token& end) {
    auto client = server_.client();
    for (int i = 0; !end.stop_requested(); ++i) {
      node["metadata"].as_object()["labels"] = json::object{{"turn", std::to_string(i)}};
      EXPECT_TRUE(client.update(node));  // whatever is there
    }
  });
  start();
  EXPECT_THAT(told(1), HasSubstr("modified"));
  other.request_stop();
  other.join();
  EXPECT_EQ(told(2), "");
  eventually([](const json::object& spec) { return spec.contains("ipv4VXLANTunnelAddr"); });
}

TEST_F(OwnNodeLoopTest, GoesOnWhereTheServerWasAway) {
  ip("link set lo up\nlink add up0 type veth peer name up1\nlink set up0 up\naddr add 203.0.113.7/24 dev "
     "up0\n");
  start();
  eventually([](const json::object& spec) { return spec.contains("bgp"); });
  server_.stop();
  server_.start();
  ASSERT_TRUE(client_.create(pool_document("10.0.1.0/24")));
  eventually([](const json::object& spec) { return spec.contains("ipv4VXLANTunnelAddr"); });
}

TEST_F(OwnNodeLoopTest, APoolThatIsReplacedCostsNoAddressAndOneThatHasGoneDoes) {
  ip("link set lo up\nlink add up0 type veth peer name up1\nlink set up0 up\naddr add 203.0.113.7/24 dev "
     "up0\n");
  ASSERT_TRUE(client_.create(pool_document("10.0.1.0/24")));
  start();
  eventually([](const json::object& spec) { return spec.contains("ipv4VXLANTunnelAddr"); });
  const auto before = client_.get(kNode)->at("spec").at("ipv4VXLANTunnelAddr");
  for (int i = 0; i < 20; ++i) {
    ASSERT_TRUE(client_.remove({Kind::kIpPool, "", "p"}));
    ASSERT_TRUE(client_.create(pool_document("10.0.1.0/24")));
    EXPECT_EQ(client_.get(kNode)->at("spec").at("ipv4VXLANTunnelAddr"), before);
  }
  ASSERT_TRUE(client_.remove({Kind::kIpPool, "", "p"}));
  eventually([](const json::object& spec) { return !spec.contains("ipv4VXLANTunnelAddr"); });
}

TEST_F(OwnNodeLoopTest, TheHostsAddressIsTheOneOfItsDefaultRouteAndElseTheFirstThatLeadsOut) {
  const auto main_addresses = [&] {
    std::string text;
    network_.run([&] {
      for (const auto family : kFamilies) {
        const auto found = kernel::main_address(family);
        text += (found ? found->to_string() : "none") + " ";
      }
    });
    return text;
  };
  EXPECT_EQ(main_addresses(), "none none ");
  ip("link set lo up\naddr add 127.0.0.5/8 dev lo\nlink add cali1 type veth peer name docker0\nlink set "
     "cali1 up\n"
     "link set docker0 up\naddr add 10.9.9.9/24 dev docker0\naddr add 10.65.0.1/32 dev cali1\n");
  EXPECT_EQ(main_addresses(), "none none ") << "a workload's and a bridge's of others do not count";
  ip("link add up0 type veth peer name up1\nlink set up0 up\nlink set up1 up\naddr add 169.254.7.7/16 dev "
     "up0\n"
     "addr add 203.0.113.7/24 dev up1\naddr add 198.51.100.7/25 dev up0\naddr add 2001:db8:7::7/64 dev up0 "
     "nodad\n");
  EXPECT_EQ(main_addresses(), "203.0.113.7/24 2001:db8:7::7/64 ");
  ip("route add default via 198.51.100.1 dev up0\n");
  EXPECT_EQ(main_addresses(), "198.51.100.7/25 2001:db8:7::7/64 ");
  ip("route replace default via 198.51.100.1 dev up0 src 203.0.113.7\n");
  EXPECT_EQ(main_addresses(), "203.0.113.7/24 2001:db8:7::7/64 ") << "what it sends from counts";
  ip("link set up0 down\nlink set up1 down\n");
  EXPECT_EQ(main_addresses(), "none none ");
}

}  // namespace
}  // namespace ocicat::agent
