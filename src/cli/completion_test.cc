#include "cli/completion.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <CLI/CLI.hpp>
#include <boost/json.hpp>

#include "api/client/client.h"
#include "cli/cli_for_test.h"
#include "cli/commands.h"

namespace ocicat::cli {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::IsSupersetOf;
using testing::Not;
using testing::StartsWith;
using Ask = Blank::Ask;

std::vector<std::string> words_of(const std::vector<Candidate>& candidates) {
  std::vector<std::string> words;
  for (const Candidate& candidate : candidates) words.push_back(candidate.word);
  return words;
}

// What is offered for these words without asking anybody.
std::vector<std::string> offered(const std::vector<std::string>& words) {
  Blank blank = blank_at_end(*make_app(), words);
  blank.ask = Ask::kNothing;
  return words_of(fill(blank));
}

Ask asked(const std::vector<std::string>& words) {
  return blank_at_end(*make_app(), words).ask;
}

TEST(Completion, CommandsAreOfferedAndHiddenOnesAreNot) {
  EXPECT_THAT(offered({"ma"}), ElementsAre("matrix"));
  EXPECT_THAT(offered({"lab", ""}), AllOf(IsSupersetOf({"up", "down", "probe"}), Not(Contains("listen"))));
  EXPECT_THAT(offered({"lab", "pod", "m"}), ElementsAre("move"));
  EXPECT_THAT(offered({"completion", ""}), ElementsAre("bash", "fish", "zsh"));
  EXPECT_THAT(offered({""}), Not(Contains(StartsWith("__"))));
}

TEST(Completion, BehindAKindComeNamesAndNotKinds) {
  EXPECT_THAT(offered({"delete", "globalnetworkp"}), ElementsAre("globalnetworkpolicies"));
  EXPECT_THAT(offered({"delete", "gnp", ""}), IsEmpty());
  for (const std::vector<std::string>& words : std::vector<std::vector<std::string>>{
           {"delete", "gnp", ""}, {"get", "gnp", "a", ""}, {"get", "gnp/"}, {"label", "gnp", ""}}) {
    const Blank blank = blank_at_end(*make_app(), words);
    EXPECT_EQ(blank.ask, Ask::kNames) << testing::PrintToString(words);
    EXPECT_EQ(blank.kind, Kind::kGlobalNetworkPolicy);
  }
  EXPECT_EQ(asked({"label", "gnp", "a", ""}), Ask::kNothing) << "labels are free";
  EXPECT_EQ(asked({"get", "nothing", ""}), Ask::kNothing);
}

TEST(Completion, OptionsBeforeAWordDoNotCountAsWords) {
  const Blank blank = blank_at_end(
      *make_app(), std::vector<std::string>{"get", "-n", "shop", "--server=unix:///x", "-A", "np", ""});
  EXPECT_EQ(blank.ask, Ask::kNames);
  EXPECT_EQ(blank.ns, "shop");
  EXPECT_EQ(blank.server, "unix:///x");
}

TEST(Completion, ValuesOfOptionsAreOfferedInEveryForm) {
  EXPECT_THAT(offered({"get", "tiers", "-o", ""}), ElementsAre("json", "name", "wide", "yaml"));
  EXPECT_THAT(offered({"get", "tiers", "-o", "=", "j"}), ElementsAre("json")) << "as bash splits it";
  EXPECT_THAT(offered({"get", "tiers", "--output=y"}), ElementsAre("--output=yaml"));
  EXPECT_THAT(offered({"explain", "--family", ""}), ElementsAre("4", "6"));
  EXPECT_THAT(offered({"explain", "--fam"}), ElementsAre("--family"));
  EXPECT_THAT(offered({"apply", "-f", ""}), IsEmpty()) << "the shell offers files";
  EXPECT_EQ(asked({"get", "np", "-n", ""}), Ask::kNamespaces);
  EXPECT_EQ(asked({"lab", "down", "--name", ""}), Ask::kLabs);
  EXPECT_EQ(asked({"lab", "pod", "add", "a/b", "--host", ""}), Ask::kLabHosts);
}

TEST(Completion, WorkloadsAndThingsOfALabAreAskedFor) {
  EXPECT_EQ(asked({"explain", ""}), Ask::kWorkloads);
  EXPECT_EQ(asked({"explain", "a/b", ""}), Ask::kWorkloads);
  EXPECT_EQ(asked({"explain", "a/b", "c/d", ""}), Ask::kNothing);
  EXPECT_EQ(asked({"lab", "exec", ""}), Ask::kLabPods);
  EXPECT_EQ(asked({"lab", "agent", "kill", ""}), Ask::kLabHosts);
  EXPECT_EQ(
      blank_at_end(*make_app(), std::vector<std::string>{"lab", "pod", "move", "--name", "try", ""}).lab,
      "try");
}

TEST_F(WithServer, NamesComeFromTheServerAndOfTheNamespaceGiven) {
  api::Client client(*api::Address::parse(address()));
  for (
      const char* text :
      {R"({"apiVersion":"projectcalico.org/v3","kind":"GlobalNetworkSet","metadata":{"name":"one"},"spec":{}})",
       R"({"apiVersion":"projectcalico.org/v3","kind":"NetworkSet","metadata":{"name":"two","namespace":"shop"},"spec":{}})",
       R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"shop"},"spec":{"containers":[{"name":"c","image":"i"}]}})"}) {
    const auto created = client.create(boost::json::parse(text).as_object());
    ASSERT_TRUE(created) << created.error().message;
  }
  EXPECT_EQ(ocicat({"__complete", "delete", "globalnetworkset", ""}).out, "one\n");
  EXPECT_EQ(ocicat({"__complete", "delete", "globalnetworkset/o"}).out, "globalnetworkset/one\n");
  EXPECT_EQ(ocicat({"__complete", "get", "networkset", "-n", "shop", ""}).out, "two\n");
  EXPECT_EQ(ocicat({"__complete", "get", "networkset", ""}).out, "");
  EXPECT_EQ(ocicat({"__complete", "explain", "sh"}).out, "shop/p\n");
}

TEST_F(InFolder, WithoutAServerNothingIsOfferedAndNothingIsSaid) {
  const Ran ran = ocicat({"__complete", "get", "tier", ""});
  EXPECT_EQ(ran.code, 0);
  EXPECT_EQ(ran.out + ran.err, "");
}

TEST_F(InFolder, TheBashScriptShowsWhatTheProgramPrints) {
  const std::string path =
      file("completion.bash", ocicat({"completion", "bash"}).out +
                                  "ocicat() { local IFS=' '; printf 'tiers\\tTier of v3\\n%s\\n' \"$*\"; }\n"
                                  "COMP_WORDS=(ocicat get '' more); COMP_CWORD=2; _ocicat\n"
                                  "[ \"${#COMPREPLY[@]}\" = 2 ] || exit 3\n"
                                  "[ \"${COMPREPLY[0]}\" = tiers ] || exit 4\n"
                                  "[ \"${COMPREPLY[1]}\" = '__complete get ' ] || exit 5\n");
  const int status = std::system(("bash " + path).c_str());
  EXPECT_EQ(WEXITSTATUS(status), 0);
  EXPECT_THAT(ocicat({"completion", "zsh"}).out, HasSubstr("#compdef ocicat"));
  EXPECT_THAT(ocicat({"completion", "fish"}).out, HasSubstr("complete -c ocicat"));
}

}  // namespace
}  // namespace ocicat::cli
