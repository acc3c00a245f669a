#include "base/spare_memory.h"

#include <gtest/gtest.h>

#include <fstream>
#include <memory>
#include <string>
#include <vector>

namespace ocicat {
namespace {

#if defined(__has_feature)
constexpr bool kSanitized = __has_feature(address_sanitizer) || __has_feature(thread_sanitizer);
#else
constexpr bool kSanitized = false;
#endif

// Kilobytes, of a line of /proc/self/status.
long resident(const std::string& line) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    long kilobytes = 0;
    if (word == line + ":" && status >> kilobytes) return kilobytes;
  }
  ADD_FAILURE() << "no such line";
  return 0;
}

TEST(SpareMemory, IsGivenBackAndWhatIsInUseStays) {
  if (kSanitized) GTEST_SKIP() << "memory is a sanitizer's own here";
  constexpr std::size_t kPieces = 100'000;
  std::vector<std::unique_ptr<std::string>> pieces;
  for (std::size_t i = 0; i < kPieces; ++i) pieces.push_back(std::make_unique<std::string>(400, 'a'));
  // The last one stays where it is, so that the heap cannot simply end before it.
  for (std::size_t i = 0; i + 1 < kPieces; ++i) pieces[i].reset();
  const auto before = resident("RssAnon");
  const auto program_before = resident("RssFile");
  give_back_spare_memory();
  EXPECT_LT(resident("RssAnon"), before - 20'000);
  EXPECT_LT(resident("RssFile"), program_before);
  EXPECT_EQ(*pieces.back(), std::string(400, 'a'));
}

}  // namespace
}  // namespace ocicat
