// whisper.cpp at work for whisper.py: obeys lines from standard input and answers each with a line of JSON.
// build_whisper_cpp.sh builds it against the library; its own programs are not in the package that carries the source.
// usage: whisper_lines MODEL THREADS; then `encode`, `decode 1 TOKENS`, `transcribe 1 BEAMS FILE` (wav, 16-bit, mono, 16 kHz).
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <sstream>
#include <string>
#include <vector>

#include "whisper.h"

static const int SAMPLE_RATE = 16000;
// Tokens that are written before the clock starts, as our bench does.
static const int WARM_TOKENS = 4;

static double now_ms() {
    using namespace std::chrono;
    return duration<double, std::milli>(steady_clock::now().time_since_epoch()).count();
}

static void fail(const std::string & what) {
    fprintf(stderr, "%s\n", what.c_str());
    exit(1);
}

static std::vector<float> read_wav(const std::string & path) {
    std::ifstream file(path, std::ios::binary);
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const size_t data = bytes.find("data");
    if (bytes.compare(0, 4, "RIFF") != 0 || data == std::string::npos) fail("not a wav file: " + path);
    std::vector<float> samples((bytes.size() - data - 8) / 2);
    for (size_t at = 0; at < samples.size(); ++at) {
        int16_t value;
        memcpy(&value, bytes.data() + data + 8 + 2 * at, 2);
        samples[at] = value / 32768.0f;
    }
    return samples;
}

struct Lines {
    whisper_context * context;
    int threads;

    void encode(bool timed) {
        const double began = now_ms();
        if (whisper_encode(context, 0, threads) != 0) fail("whisper_encode failed");
        if (timed) printf("{\"ms\": %.4f}\n", now_ms() - began);
    }

    // The likeliest token behind the last of `count` that were given; the logits of each have a row, and only the last is filled.
    whisper_token likeliest(size_t count) {
        const float * logits = whisper_get_logits(context) + (count - 1) * whisper_n_vocab(context);
        return (whisper_token) (std::max_element(logits, logits + whisper_n_vocab(context)) - logits);
    }

    void decode(int tokens) {
        std::vector<whisper_token> next = {
            whisper_token_sot(context), whisper_token_lang(context, whisper_lang_id("en")),
            whisper_token_transcribe(context), whisper_token_not(context),
        };
        int past = 0;
        double began = 0;
        for (int step = 0; step <= WARM_TOKENS + tokens; ++step) {
            if (step == WARM_TOKENS + 1) began = now_ms();
            if (whisper_decode(context, next.data(), (int) next.size(), past, threads) != 0) fail("whisper_decode failed");
            past += (int) next.size();
            next = { likeliest(next.size()) };
        }
        printf("{\"ms\": %.4f, \"last\": %d}\n", now_ms() - began, next[0]);
    }

    void transcribe(int beams, const std::string & path) {
        const double began = now_ms();
        const std::vector<float> samples = read_wav(path);
        whisper_full_params params =
            whisper_full_default_params(beams > 1 ? WHISPER_SAMPLING_BEAM_SEARCH : WHISPER_SAMPLING_GREEDY);
        params.n_threads = threads;
        params.language = "en";
        params.print_progress = false;
        params.beam_search.beam_size = beams;
        if (whisper_full(context, params, samples.data(), (int) samples.size()) != 0) fail("whisper_full failed");
        int tokens = 0;
        for (int segment = 0; segment < whisper_full_n_segments(context); ++segment) {
            for (int at = 0; at < whisper_full_n_tokens(context, segment); ++at) {
                tokens += whisper_full_get_token_id(context, segment, at) < whisper_token_eot(context);
            }
        }
        printf("{\"ms\": %.4f, \"tokens\": %d}\n", now_ms() - began, tokens);
    }
};

static void quiet(ggml_log_level level, const char * text, void *) {
    if (level >= GGML_LOG_LEVEL_ERROR && level != GGML_LOG_LEVEL_CONT) fputs(text, stderr);
}

int main(int count, char ** words) {
    if (count != 3) fail("usage: whisper_lines MODEL THREADS");
    whisper_log_set(quiet, nullptr);
    whisper_context_params params = whisper_context_default_params();
    params.use_gpu = false;
    Lines lines = { whisper_init_from_file_with_params(words[1], params), atoi(words[2]) };
    if (!lines.context) fail(std::string("cannot load ") + words[1]);
    // Tones that come and go, one window of them.
    std::vector<float> samples(30 * SAMPLE_RATE);
    for (size_t at = 0; at < samples.size(); ++at) {
        samples[at] = 0.3f * (sinf(at * 0.09f) * sinf(at * 0.0007f) + 0.3f * cosf(at * 0.31f));
    }
    if (whisper_pcm_to_mel(lines.context, samples.data(), (int) samples.size(), lines.threads) != 0) fail("no spectrogram");
    lines.encode(false);
    for (std::string line; std::getline(std::cin, line);) {
        std::istringstream rest(line);
        std::string work, path;
        int windows = 1, number = 0;
        rest >> work >> windows >> number >> path;
        if (work == "encode") lines.encode(true);
        else if (work == "decode" && windows == 1) lines.decode(number);
        else if (work == "transcribe" && windows == 1) lines.transcribe(number, path);
        else fail("no such work: " + line);
        fflush(stdout);
    }
    whisper_free(lines.context);
    return 0;
}
