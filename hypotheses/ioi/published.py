"""What was found on GPT-2 small: printed as a target where that network is asked for by its name, and only then."""

NOTES = (
    "published by the text, on 25 prompts of its own: logit difference 2.8052; 9.9 adds 1.7086, so that 1.0966 was "
    "expected without it, and 2.6290 was left; the final norm's size before over after is 1.04",
    "published by the text: 5.8 and 5.9 to the keys of S-inhibition heads about -5% each; 2.2 and 4.11 to the keys of "
    "5.8 and 5.9 about -1% together and 0% alone; to those of all four induction heads 3% and 15% alone, 31% together",
    "published by the text: between signals, columns of the table differ by about 4.5 and rows by about 0.75",
    "published by Wang et al. 2022 on their own prompts: F(M) 3.56, |F(M) - F(C)| 0.46 for the 26 heads (87%), "
    "incompleteness of up to 3.09 by a greedy search",
)
