#include "resources/quantity.h"

#include <gtest/gtest.h>

#include <limits>

namespace ocicat {
namespace {

TEST(Quantity, IsANumberWithASuffixRoundedUp) {
  struct Case {
    std::string_view text;
    std::optional<std::int64_t> value;
  };
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  const Case cases[] = {
      {"0", 0},
      {"10", 10},
      {"10M", 10'000'000},
      {"1.5Gi", 1'610'612'736},
      {"2e3", 2000},
      {"2E3", 2000},
      {"2e+3", 2000},
      {"1E", 1'000'000'000'000'000'000},
      {"500m", 1},
      {"1500m", 2},
      {"-1500m", -1},
      {"1n", 1},
      {"1u", 1},
      {".5k", 500},
      {"5.k", 5000},
      {"+7", 7},
      {"1P", 1'000'000'000'000'000},
      {"9Ei", kMost},
      {"999999999999999999E", kMost},
      {"-999999999999999999Ei", -kMost - 1},
      {"1e99999", 1'000'000'000'000'000'000},
      {"1e-99999", 1},
      {"", std::nullopt},
      {"M", std::nullopt},
      {".", std::nullopt},
      {"1..2", std::nullopt},
      {"1 M", std::nullopt},
      {"1KB", std::nullopt},
      {"1K", std::nullopt},
      {"ten", std::nullopt},
      {"1e", std::nullopt},
      {"1e+-3", std::nullopt},
      {"--1", std::nullopt},
      {"0x10", std::nullopt},
      {"1234567890123456789", std::nullopt},
  };
  for (const auto& [text, value] : cases) EXPECT_EQ(read_quantity(text), value) << text;
}

}  // namespace
}  // namespace ocicat
