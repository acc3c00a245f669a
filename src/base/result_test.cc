#include "base/result.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <cerrno>

namespace ocicat {
namespace {

TEST(FailErrno, SaysThatRootIsMissingOnlyWhereItIs) {
  const auto message = [](int error_number) { return fail_errno("x", error_number).error().message; };
  ASSERT_EQ(::geteuid(), 0U) << "needs root";
  EXPECT_EQ(message(EACCES), "x: Permission denied");
  ASSERT_EQ(::seteuid(65534), 0);
  const std::string refused = message(EACCES);
  const std::string absent = message(ENOENT);
  ASSERT_EQ(::seteuid(0), 0);
  EXPECT_EQ(refused, "x: Permission denied; this process does not run as root");
  EXPECT_EQ(absent, "x: No such file or directory");
}

TEST(FailErrno, TellsWhatIsFull) {
  for (const int error_number : {ENOSPC, ENOBUFS, EMFILE, ENFILE})
    EXPECT_EQ(fail_errno("x", error_number).error().code, ErrorCode::kExhausted) << error_number;
}

}  // namespace
}  // namespace ocicat
