#include "views/text_table.h"

#include <gtest/gtest.h>

namespace ocicat::views {
namespace {

TEST(TextTable, AlignsColumnsAndLeavesNoBlanksAtTheEnd) {
  const TextTable table{{"NAME", "ORDER"}, {{"default", "1000000"}, {"a", ""}}};
  EXPECT_EQ(table.to_string(), "NAME      ORDER\ndefault   1000000\na\n");
  EXPECT_EQ(table.to_string(false), "default   1000000\na\n");
}

TEST(TextTable, CountsCharactersNotBytes) {
  const TextTable table{{"A", "B"}, {{"→→", "x"}}};
  EXPECT_EQ(table.to_string(), "A    B\n→→   x\n");
}

TEST(TextTable, ControlCharactersInCellsDoNotReachTheTerminal) {
  const TextTable table{{"A"}, {{"x\033[31m\ny"}}};
  EXPECT_EQ(table.to_string(false), "x?[31m?y\n");
}

}  // namespace
}  // namespace ocicat::views
