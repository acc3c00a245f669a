#include "base/large_pages.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <string>

namespace ocicat {
namespace {

// That a program does begin again is seen in test/e2e/test_large_pages.py.
std::string variable_after(const char* before) {
  ::setenv("GLIBC_TUNABLES", before, 1);
  use_large_pages();
  const char* const now = std::getenv("GLIBC_TUNABLES");
  std::string text = now == nullptr ? "(not set)" : now;
  ::unsetenv("GLIBC_TUNABLES");
  return text;
}

TEST(LargePages, TheSecondStartLeavesNothingToProgramsThatItStarts) {
  EXPECT_EQ(variable_after("glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"), "(not set)");
}

TEST(LargePages, WhatTheEnvironmentSaidBesidesIsPassedOn) {
  EXPECT_EQ(variable_after("glibc.malloc.check=3:glibc.malloc.hugetlb=1:glibc.malloc.arena_max=1"),
            "glibc.malloc.check=3");
}

TEST(LargePages, WhoeverStartsTheProgramMaySayOtherwise) {
  EXPECT_EQ(variable_after("glibc.malloc.hugetlb=0"), "glibc.malloc.hugetlb=0");
}

}  // namespace
}  // namespace ocicat
