// What the kernel answers, taken apart without a kernel.
#include "kernel/netlink.h"

#include <gtest/gtest.h>

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstring>

namespace ocicat::kernel {
namespace {

// An answer to a message of `sent` bytes, with a copy of `copied` of them and then what `words` says.
class Answer {
 public:
  Answer(int error, std::uint16_t flags, std::uint32_t sent, std::size_t copied,
         std::string_view words = {}) {
    nlmsgerr answer{.error = -error, .msg = {.nlmsg_len = sent, .nlmsg_seq = 7}};
    put(&answer, sizeof answer);
    at_ += copied;
    if (!words.empty()) {
      const nlattr attribute{static_cast<std::uint16_t>(sizeof(nlattr) + words.size()), NLMSGERR_ATTR_MSG};
      put(&attribute, sizeof attribute);
      put(words.data(), words.size());
    }
    header() = {.nlmsg_len = static_cast<std::uint32_t>(at_),
                .nlmsg_type = NLMSG_ERROR,
                .nlmsg_flags = flags,
                .nlmsg_seq = 7,
                .nlmsg_pid = 0};
  }
  nlmsghdr& header() { return *reinterpret_cast<nlmsghdr*>(bytes_.data()); }

 private:
  void put(const void* data, std::size_t size) {
    std::memcpy(bytes_.data() + at_, data, size);
    at_ += size;
  }

  alignas(nlmsghdr) std::array<char, 512> bytes_{};
  std::size_t at_ = sizeof(nlmsghdr);
};

TEST(Acknowledgement, HasTheKernelsWordsWithACopyOfWhatWasSentAndWithout) {
  Answer capped(EINVAL, NLM_F_ACK_TLVS | NLM_F_CAPPED, 200, 0, "no such thing");
  EXPECT_EQ(acknowledgement_of(capped.header()).error_number, EINVAL);
  EXPECT_EQ(acknowledgement_of(capped.header()).sequence, 7U);
  EXPECT_EQ(acknowledgement_of(capped.header()).text, "no such thing");
  Answer whole(EEXIST, NLM_F_ACK_TLVS, sizeof(nlmsghdr) + 40, 40, "is there");
  EXPECT_EQ(acknowledgement_of(whole.header()).error_number, EEXIST);
  EXPECT_EQ(acknowledgement_of(whole.header()).text, "is there");
}

TEST(Acknowledgement, WithSizesThatDoNotFitHasNoWordsAndReadsNothingBeyond) {
  for (const std::uint32_t sent : {0U, 1U, 15U, 1000U, 0x7fffffffU, 0xffffffffU}) {
    Answer answer(ENOENT, NLM_F_ACK_TLVS, sent, 0);
    EXPECT_EQ(acknowledgement_of(answer.header()).error_number, ENOENT) << sent;
    EXPECT_EQ(acknowledgement_of(answer.header()).text, "") << sent;
  }
}

TEST(Acknowledgement, TooShortToBeOneIsAnError) {
  Answer answer(0, 0, 0, 0);
  for (std::uint32_t size = sizeof(nlmsghdr); size < sizeof(nlmsghdr) + sizeof(nlmsgerr); ++size) {
    answer.header().nlmsg_len = size;
    EXPECT_EQ(acknowledgement_of(answer.header()).error_number, EBADMSG) << size;
  }
}

}  // namespace
}  // namespace ocicat::kernel
