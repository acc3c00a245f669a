#include "base/command.h"

#include <fcntl.h>
#include <gtest/gtest.h>

#include "base/unique_fd.h"

namespace ocicat {
namespace {

TEST(Command, HasNoneOfOurFilesBesideItsInputAndOutputs) {
  const UniqueFd ours(
      ::open("/dev/null", O_RDONLY));  // NOLINT(android-cloexec-open): as one that is handed on
  ASSERT_TRUE(ours);
  const auto there =
      run({"sh", "-c", "test -e /proc/$$/fd/" + std::to_string(ours.get()) + " && echo there; cat"}, "read");
  ASSERT_TRUE(there) << there.error().message;
  EXPECT_EQ(*there, "read");
}

TEST(Command, ThatFailsIsAnErrorWithWhatItPrinted) {
  const auto done = run({"sh", "-c", "echo so it is >&2; exit 3"});
  ASSERT_FALSE(done);
  EXPECT_NE(done.error().message.find("so it is"), std::string::npos);
  const auto finished = run_to_end({"sh", "-c", "exit 3"});
  ASSERT_TRUE(finished);
  EXPECT_EQ(finished->exit_code, 3);
}

}  // namespace
}  // namespace ocicat
