#include "cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/wait.h>

#include "cli/cli_for_test.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Usage, HelpOfEveryCommandHasExamples) {
  for (const char* command :
       {"server", "agent", "apply", "create", "replace", "delete", "get", "label", "status", "explain",
        "matrix", "verify", "version", "api-kinds", "completion"}) {
    const Ran ran = ocicat({command, "--help"});
    EXPECT_EQ(ran.code, 0) << command;
    EXPECT_THAT(ran.out, HasSubstr("Examples:")) << command;
  }
}

TEST(Usage, WrongUsageIsTwoAndGoesToStandardError) {
  for (const std::vector<std::string>& words :
       std::vector<std::vector<std::string>>{{},
                                             {"frobnicate"},
                                             {"get"},
                                             {"get", "tiers", "--colour"},
                                             {"explain", "a/b"},
                                             {"matrix"},
                                             {"apply"},
                                             {"get", "tiers", "-o", "xml"}}) {
    const Ran ran = ocicat(words);
    EXPECT_EQ(ran.code, 2) << testing::PrintToString(words);
    EXPECT_THAT(ran.out, IsEmpty());
    EXPECT_FALSE(ran.err.empty());
  }
}

TEST(Usage, AWordThatIsUnknownIsNamed) {
  EXPECT_THAT(ocicat({"frobnicate"}).err, HasSubstr("frobnicate"));
  EXPECT_THAT(ocicat({"completion", "tcsh"}).err, HasSubstr("tcsh"));
  EXPECT_THAT(ocicat({"get", "--colour"}).err, HasSubstr("--colour"));
  EXPECT_THAT(ocicat({"get"}).err, HasSubstr("KIND NAME is required"));
}

TEST(Usage, VersionIsPrinted) {
  EXPECT_THAT(ocicat({"--version"}).out, HasSubstr(OCICAT_VERSION));
  EXPECT_THAT(ocicat({"version", "--client"}).out, HasSubstr(OCICAT_VERSION));
}

TEST_F(InFolder, WithoutAServerTheErrorSaysWhatToDo) {
  const Ran ran = ocicat({"get", "tiers"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("cannot reach the server at " + address()),
                             HasSubstr("`ocicat server`"), HasSubstr("OCICAT_SERVER")));
}

TEST_F(InFolder, AnUnknownKindPointsToTheList) {
  const Ran ran = ocicat({"get", "tires"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, HasSubstr("api-kinds"));
  EXPECT_THAT(ocicat({"api-kinds"}).out, HasSubstr("globalnetworkpolicies"));
}

TEST_F(InFolder, CompletionScriptsAreValidShellAndKnowTheCommands) {
  const Ran bash = ocicat({"completion", "bash"});
  EXPECT_THAT(bash.out, AllOf(HasSubstr("explain"), HasSubstr("--family"), HasSubstr("networkpolicies")));
  const std::string path = file("completion.bash", bash.out +
                                                       "COMP_WORDS=(ocicat ma); COMP_CWORD=1; _ocicat\n"
                                                       "[ \"${COMPREPLY[*]}\" = matrix ] || exit 3\n"
                                                       "COMP_WORDS=(ocicat get ti); COMP_CWORD=2; _ocicat\n"
                                                       "[ \"${COMPREPLY[*]}\" = tiers ] || exit 4\n");
  const int status = std::system(("bash " + path).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_THAT(ocicat({"completion", "zsh"}).out, HasSubstr("#compdef ocicat"));
  EXPECT_THAT(ocicat({"completion", "fish"}).out, HasSubstr("__fish_seen_subcommand_from get"));
}

}  // namespace
}  // namespace ocicat::cli
