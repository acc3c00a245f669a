#include "lab/layout.h"

#include <gtest/gtest.h>

#include <cstdlib>

namespace ocicat::lab {
namespace {

Layout layout(std::string_view name) {
  return *Layout::named(name);
}

TEST(Layout, ALabWithoutANameIsTheOneOfTheEnvironmentElseTheDefault) {
  unsetenv("OCICAT_LAB");
  EXPECT_EQ(layout("").name(), "default");
  setenv("OCICAT_LAB", "mine", 1);
  EXPECT_EQ(layout("").name(), "mine");
  EXPECT_EQ(layout("yours").name(), "yours");
  unsetenv("OCICAT_LAB");
}

TEST(Layout, NamesThatCouldLeaveTheFolderOrBeMistakenAreRefused) {
  for (const auto* name : {"../x", "a/b", "A", "a b", "-a", "a-", "a-host1", "a-pod-b", "a.b",
                           "a2345678901234567890123456789012345678901"}) {
    EXPECT_FALSE(Layout::named(name).has_value()) << name;
  }
}

TEST(Layout, ALabOwnsItsNamespacesAndNobodyElses) {
  const auto lab = layout("demo");
  EXPECT_TRUE(lab.owns_namespace(lab.host_namespace("host1")));
  EXPECT_TRUE(lab.owns_namespace(lab.pod_namespace("shop", "db")));
  EXPECT_FALSE(lab.owns_namespace("demo"));
  EXPECT_FALSE(lab.owns_namespace("demo-hosting"));
  EXPECT_FALSE(lab.owns_namespace("demo-host"));
  EXPECT_FALSE(lab.owns_namespace("demo-podcast"));

  const auto longer = layout("demo-2");
  EXPECT_FALSE(lab.owns_namespace(longer.host_namespace("host1")));
  EXPECT_FALSE(lab.owns_namespace(longer.pod_namespace("shop", "db")));
  EXPECT_FALSE(longer.owns_namespace(lab.host_namespace("host1")));
}

TEST(Layout, PodsOfDifferentNamespacesNeverShareAName) {
  const auto lab = layout("demo");
  EXPECT_NE(lab.pod_namespace("a-b", "c"), lab.pod_namespace("a", "b-c"));
}

}  // namespace
}  // namespace ocicat::lab
