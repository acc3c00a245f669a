#include "cli/cli.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>

#include "cli/cli_for_test.h"
#include "cli/commands.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::ContainsRegex;
using testing::HasSubstr;
using testing::IsEmpty;

// Every command but hidden ones, as its words.
void collect_commands(const CLI::App& app, const std::vector<std::string>& path,
                      std::vector<std::vector<std::string>>& out) {
  out.push_back(path);
  for (const CLI::App* child : app.get_subcommands({})) {
    if (child->get_group().empty()) continue;
    std::vector<std::string> words = path;
    words.push_back(child->get_name());
    collect_commands(*child, words, out);
  }
}

TEST(Usage, HelpOfEveryCommandHasExamples) {
  std::vector<std::vector<std::string>> commands;
  collect_commands(*make_app(), {}, commands);
  EXPECT_GT(commands.size(), 30u);
  for (std::vector<std::string> words : commands) {
    words.emplace_back("--help");
    const Ran ran = ocicat(words);
    EXPECT_EQ(ran.code, 0) << testing::PrintToString(words);
    EXPECT_THAT(ran.out, ContainsRegex("Examples:\n  .*ocicat ")) << testing::PrintToString(words);
  }
}

TEST(Usage, WrongUsageIsTwoAndGoesToStandardError) {
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {},
           {"frobnicate"},
           {"get"},
           {"get", "tiers", "--colour"},
           {"explain", "a/b"},
           {"matrix"},
           {"apply"},
           {"get", "tiers", "-o", "xml"},
           {"get", "tires"},
           {"get", "np", "-n", "x", "-A"},
           {"get", "np", "a", "-l", "a=b"},
           {"get", "np", "-l", "a in"},
           {"get", "tier,np", "-w"},
           {"get", "np/a", "b"},
           {"delete"},
           {"delete", "np"},
           {"delete", "nothing", "a"},
           {"delete", "np", "a", "-f", "a.yaml"},
           {"label", "np", "a"},
           {"label", "np", "a=b"},
           {"status", "--timeout", "soon"},
           {"get", "tiers", "--server", "ftp://x"},
           {"version", "--server", "ftp://x"},
           {"explain", "a/b", "c/d", "tcp/0"},
           {"explain", "a/b", "c/d", "http"},
           {"explain", "a", "c/d", "tcp/80"},
           {"explain", "a/b", "c/d", "icmp", "--family", "6"},
           {"explain", "a/b", "c/d", "tcp/80", "--source-port", "65536"},
           {"matrix", "--ports", "tcp"},
           {"matrix", "--ports", "tcp/80,"},
           {"verify", "-f", "a.yaml"},
           {"server", "--listen", "0.0.0.0:80"},
           {"server", "--listen", "here"},
           {"agent", "--health", "somewhere"},
           {"agent", "--node", "not a name"},
           {"lab", "up", "--hosts", "0"},
           {"lab", "status", "--name", "Not_A_Name"},
           {"lab", "pod", "add", "lonely", "--host", "host1"},
           {"lab", "pod", "add", "a/b", "--host", "host1", "--listen", "80"},
           {"lab", "pod", "add", "a/b", "--host", "host1", "--labels", "a"},
           {"lab", "pod", "add", "a/b", "--host", "host1", "--ip", "x"},
           {"lab", "exec", "lonely", "--", "true"},
           {"lab", "probe", "--ports", "tcp"}}) {
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

TEST(Usage, OutputThatCannotBeWrittenIsAnError) {
  for (const std::vector<const char*>& words : {std::vector<const char*>{"ocicat", "api-kinds"},
                                                {"ocicat", "--help"},
                                                {"ocicat", "version", "--client"}}) {
    const auto run_on_a_full_disk = [&] {
      if (std::freopen("/dev/full", "w", stdout) == nullptr) std::exit(99);
      std::exit(run(static_cast<int>(words.size()), words.data()));
    };
    EXPECT_EXIT(run_on_a_full_disk(), testing::ExitedWithCode(1), "error: cannot write the output")
        << words[1];
  }
}

TEST_F(InFolder, WithoutAServerTheErrorSaysWhatToDo) {
  const Ran ran = ocicat({"get", "tiers"});
  EXPECT_EQ(ran.code, 1);
  EXPECT_THAT(ran.err, AllOf(HasSubstr("cannot reach the server at " + address()),
                             HasSubstr("`ocicat server`"), HasSubstr("OCICAT_SERVER")));
}

TEST(Lab, WithoutRootSaysThatItNeedsIt) {
  if (::geteuid() != 0) GTEST_SKIP() << "needs root, to become nobody";
  for (const char* word : {"up", "down"}) {
    const auto run_as_nobody = [&] {
      if (::seteuid(65534) != 0) std::exit(99);
      const char* words[] = {"ocicat", "lab", word, "--name", "of-nobody"};
      std::exit(run(static_cast<int>(std::size(words)), words));
    };
    EXPECT_EXIT(run_as_nobody(), testing::ExitedWithCode(1), "run this as root");
  }
}

TEST_F(InFolder, AnUnknownKindPointsToTheList) {
  const Ran ran = ocicat({"get", "tires"});
  EXPECT_EQ(ran.code, 2);
  EXPECT_THAT(ran.err, HasSubstr("api-kinds"));
  EXPECT_THAT(ocicat({"api-kinds"}).out, HasSubstr("globalnetworkpolicies"));
}

}  // namespace
}  // namespace ocicat::cli
