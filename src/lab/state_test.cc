#include "lab/state.h"

#include <gtest/gtest.h>

#include <fstream>

#include "lab/fabric.h"
#include "test/support/own_name.h"

namespace ocicat::lab {
namespace {

class StateTest : public testing::Test {
 protected:
  StateTest() : layout_(*Layout::named("state-" + test::own_name())) {
    std::filesystem::create_directories(layout_.pods_folder());
  }
  ~StateTest() override { std::filesystem::remove_all(layout_.folder()); }

  static PodRecord pod(const std::string& name) {
    return {.ns = "shop",
            .name = name,
            .host = "host1",
            .service_account = "robot",
            .addresses = {},
            .listens = {{"http", kTcp, 80}, {"", kUdp, 53}}};
  }

  Layout layout_;
};

TEST_F(StateTest, WhatIsWrittenIsRead) {
  const LabRecord lab{
      .hosts = 3, .racks = 2, .network = "vxlan", .dataplane = "nftables", .program = "/usr/bin/ocicat"};
  ASSERT_TRUE(write_lab(layout_, lab).has_value());
  EXPECT_EQ(read_lab(layout_), lab);

  auto first = pod("b");
  first.addresses = {pod_address(1, Family::kIpv4), pod_address(1, Family::kIpv6)};
  first.floating = {*IpAddress::parse("172.16.0.5"), *IpAddress::parse("fd00:172::5")};
  ASSERT_TRUE(write_pod(layout_, first).has_value());
  auto second = pod("a");
  second.container = "0123456789abcdef";
  ASSERT_TRUE(write_pod(layout_, second).has_value());
  EXPECT_EQ(read_pods(layout_), (std::vector{second, first}));
  EXPECT_EQ(read_pod(layout_, "shop", "b"), first);
}

TEST_F(StateTest, WhatIsNotThereSaysHowToBegin) {
  const auto lab = read_lab(layout_);
  ASSERT_FALSE(lab.has_value());
  EXPECT_EQ(lab.error().code, ErrorCode::kNotFound);
  EXPECT_NE(lab.error().message.find("ocicat lab up"), std::string::npos);
  EXPECT_EQ(read_pod(layout_, "shop", "x").error().message, lab.error().message);
  EXPECT_EQ(next_probe_number(layout_).error().message, lab.error().message);

  ASSERT_TRUE(
      write_lab(layout_, {.hosts = 1, .racks = 1, .network = "plain", .dataplane = "nftables", .program = ""})
          .has_value());
  const auto pod = read_pod(layout_, "shop", "x");
  ASSERT_FALSE(pod.has_value());
  EXPECT_EQ(pod.error().code, ErrorCode::kNotFound);
  EXPECT_NE(pod.error().message.find("there is no pod shop/x"), std::string::npos);
}

TEST_F(StateTest, ADamagedRecordIsAnErrorAndNotAnEmptyLab) {
  std::ofstream(layout_.state_file()) << "{";
  EXPECT_EQ(read_lab(layout_).error().code, ErrorCode::kInternal);
}

TEST_F(StateTest, ProbesAreNumberedWithoutRepetition) {
  ASSERT_TRUE(
      write_lab(layout_, {.hosts = 1, .racks = 1, .network = "plain", .dataplane = "nftables", .program = ""})
          .has_value());
  EXPECT_EQ(next_probe_number(layout_), 0U);
  EXPECT_EQ(next_probe_number(layout_), 1U);
  EXPECT_EQ(next_probe_number(layout_), 2U);
}

TEST(PodName, IsNamespaceAndName) {
  EXPECT_EQ(split_pod_name("shop/db"), (std::pair<std::string, std::string>("shop", "db")));
  for (const auto* text : {"shop", "shop/", "/db", "shop/db/x", "Shop/db", "shop/d.b", "shop/-b", "../x/y"}) {
    EXPECT_FALSE(split_pod_name(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace ocicat::lab
